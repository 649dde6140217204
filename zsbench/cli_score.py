"""`zsbench score`: label maps that somebody else's code has made, scored under a split's protocol."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

FILE = click.Path(path_type=Path)
DECLARED = (
    "masks", "layout", "unlabelled", "captions", "backbone", "backbone_corpus", "vectors", "unseen_names", "tuned_on",
)  # fmt: skip


@click.command()
@click.argument("predictions", type=FILE)
@click.option("--split", "-s", required=True, help="Name of a published split, or a file ./mine.toml.")
@click.option("--name", required=True, help='What the report calls the method, e.g. "My method".')
@click.option("--data", type=FILE, help="Folder of the data set that the label maps are of.  [default: drawn scenes]")
@click.option(
    "--classes",
    type=FILE,
    help="File that says which id is which class, lines such as '0: background'.  [default: classes.txt or .json in PREDICTIONS]",
)
@click.option("--first-id", type=click.IntRange(0, 1), help="Where ids count from, if the class file leaves that open.")
@click.option(
    "--unseen-predictions", type=FILE, metavar="FOLDER", help="Label maps over unseen names alone: the second scope."
)
@click.option(
    "--scope",
    type=click.Choice(["all", "unseen"]),
    default="all",
    show_default=True,
    help="What PREDICTIONS are: the best of all names, or of the unseen names alone.",
)
@click.option(
    "--partial", is_flag=True, help="Score the images that have a label map (marked limited, not for ranking)."
)
@click.option("--data-classes", type=FILE, help="Class file of the data, where its folder has none.")
@click.option("--data-first-id", type=click.IntRange(0, 1), help="Where the data's ids count from, if that is open.")
@click.option("--as", "data_kind", metavar="KIND", help="What kind of data the folder holds, where it fits two.")
@click.option("--image-column", help="Column of the photographs in a table of images.")
@click.option("--mask-column", help="Column of its label maps.")
@click.option("--masks", type=click.Choice(["none", "seen"]), help="Pixel labels that the method was trained with.")
@click.option("--layout", type=click.Choice(["none", "unseen"]), help="Masks of unseen classes, used as layout.")
@click.option("--unlabelled", type=click.Choice(["none", "train"]), help="Training images without labels.")
@click.option("--captions", help='Captions it was trained on, in words ("CC12M"), or none.')
@click.option("--backbone", help='What its weights started from ("ViT-B/16 of CLIP"), or "random init".')
@click.option("--backbone-corpus", help='What those weights were trained on ("WIT-400M"), or nothing.')
@click.option("--vectors", help='Class vectors ("fastText, Common Crawl"), or none.')
@click.option("--unseen-names", type=click.Choice(["evaluation", "training"]), help="When it knew the unseen names.")
@click.option("--tuned-on", help="What its settings were chosen on, or nothing.")
@click.option("--paper", default="", help="Where the method is described, in words.")
@click.option("--url", default="", help="Address of its paper or code.")
@click.option("--out", type=FILE, default=Path("runs"), show_default=True, help="Folder for runs.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as a JSON line.")
def score(predictions: Path, as_json: bool, **options: Any) -> None:
    """Score label maps of any repository: PNG or .npy files, one per image.

    PREDICTIONS is a folder with NAME.png (palette or grey, the value is the id) or NAME.npy per image of the validation
    list, at the size of its label map; or the predictions/ folder of a run with --save-predictions. What the method was
    allowed to learn from is taken at your word and marked so; what you leave out stands there as not declared.
    """
    from zsbench.data.own_split import split_for
    from zsbench.data.reader import Hints
    from zsbench.session import data_line, numbers, open_data
    from zsbench.split import OWN, load_split
    from zsbench.submission import places, take
    from zsbench.submission_record import Declared, Told, said
    from zsbench.submission_record import score as scored

    given = {field: options[field] for field in DECLARED if options[field] is not None}
    told = Told(options["name"], Declared(**given), options["paper"], options["url"])
    wanted = OWN if options["split"] == OWN else load_split(options["split"]).dataset
    folders = places(predictions, options["unseen_predictions"], options["scope"])
    hints = Hints(*(options[field] for field in ("data_classes", "data_first_id", "image_column", "mask_column")))
    dataset = open_data(options["data"], {wanted: [options["split"]]}, hints, options["data_kind"])
    split = split_for(options["split"], dataset)
    handed = take(folders, dataset, split, options["classes"], options["first_id"], options["partial"])
    done = scored(handed, told, options["out"], shlex.join(["zsbench", *sys.argv[1:]]))
    if as_json:
        import json

        click.echo(json.dumps(done.record))
        return
    limited = " (limited: not for ranking)" if done.record["limited"] else ""
    images = f"{split.name}: {len(handed.keys):,} of {len(dataset.keys('val')):,} images{limited}"
    others = [name for files in handed.files.values() for name in files.others]
    lines = [data_line(dataset), images, *said(done.record, others)]
    head = f"  {done.record['method']['name']:<8} {done.key}  {done.status:<6}{numbers(done.record)}"
    for line in (*lines, head, f"           {done.folder / 'record.json'}"):
        click.echo("".join(sign if sign.isprintable() else "�" for sign in line))
