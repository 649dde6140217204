"""The options of all commands that open a data set: where it lies, and what it does not say itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from zsbench.data.reader import Hints

FILE = click.Path(path_type=Path)
Command = TypeVar("Command", bound=Callable[..., Any])

data_option = click.option(
    "--data",
    type=FILE,
    metavar="FOLDER|hf:NAME",
    help="Folder of PASCAL VOC 2012, PASCAL Context, COCO-Stuff, drawn scenes or your own classes; or a Hugging Face data set,"
    " hf:NAME[:CONFIG] or hf:PATH.  [default: drawn scenes]",
)

_HINTS = (
    click.option(
        "--as",
        "data_kind",
        metavar="KIND",
        help="Which kind of data --data is, where its folder looks like more than one.",
    ),
    click.option(
        "--classes",
        type=FILE,
        help="File that says which id of the label maps is which class, lines such as '0: background'."
        " For PASCAL Context also 459-sorted or voc-first. For COCO-Stuff 10k also v1.0 or v1.1.",
    ),
    click.option(
        "--first-id", type=click.IntRange(0, 1), help="Where ids count from, if a class file leaves that open."
    ),
    click.option("--image-column", metavar="NAME", help="Column of the photographs in a Hugging Face data set."),
    click.option("--mask-column", metavar="NAME", help="Column of its label maps."),
)


def hint_options(command: Command) -> Command:
    """--as, --classes, --first-id, --image-column and --mask-column."""
    for option in reversed(_HINTS):
        command = option(command)
    return command


def hints(told: Mapping[str, Any]) -> Hints:
    """What these options say, but for --as."""
    from zsbench.data.reader import Hints

    return Hints(told["classes"], told["first_id"], told["image_column"], told["mask_column"])
