"""Which reader opens a folder: by layout, by the splits asked for, by name; and what is said where none or two would do."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from zsbench.cli import main
from zsbench.data.opening import READERS, open_dataset, refuse_other, survey
from zsbench.data.reader import Hints
from zsbench.data.voc import VocDataset
from zsbench.errors import UserError
from zsbench.split import list_splits


def test_every_published_split_has_a_reader_and_every_reader_a_name_of_its_own() -> None:
    served = {name for reader in READERS for name in reader.serves}
    assert {listed.dataset for listed in list_splits().values()} <= served
    assert len({reader.name for reader in READERS}) == len(READERS)


def test_the_help_names_every_kind_of_data() -> None:
    text = " ".join(CliRunner().invoke(main, ["run", "--help"], terminal_width=200).output.split())
    for kind in ("PASCAL VOC 2012", "PASCAL Context", "COCO-Stuff", "Hugging Face", "your own classes"):
        assert kind in text


def test_a_layout_is_enough_and_a_name_will_do(scenes: Path) -> None:
    assert open_dataset(scenes, ["voc2012"]).serves == open_dataset(str(scenes), kind="voc2012").serves == ("voc2012",)


def test_nothing_there_and_nothing_known_show_all_layouts(tmp_path: Path) -> None:
    for folder, said in ((tmp_path / "absent", "no such folder"), (tmp_path, "no data set that zsbench knows")):
        with pytest.raises(UserError, match=said) as fault:
            survey(folder)
        assert all(reader.layout in str(fault.value) for reader in READERS)
    with pytest.raises(UserError, match="absent: no such folder"):
        survey(tmp_path / "absent", kind="own")


def test_an_unknown_kind_gets_the_nearest(scenes: Path) -> None:
    with pytest.raises(UserError, match=r"no kind of data named 'voc2021'\. Did you mean 'voc2012'"):
        survey(scenes, kind="voc2021")
    with pytest.raises(UserError, match="is an address of Hugging Face data sets; leave --as own out"):
        survey("hf:me/pets", kind="own")


def test_a_folder_of_two_data_sets_is_asked_about_unless_the_splits_tell(tmp_path: Path) -> None:
    for folder in ("ImageSets/Segmentation", "images/train", "masks/train"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(UserError, match=r"holds more than one data set \(voc2012, own\); .* say --as voc2012"):
        survey(tmp_path)
    with pytest.raises(UserError, match=r"no classes\.txt"):
        survey(tmp_path, ["own"])
    _, faults = survey(tmp_path, ["voc2012"])
    assert any("neither train.txt nor val.txt" in fault for fault in faults)


def test_what_a_reader_does_not_hear_is_refused(scenes: Path) -> None:
    with pytest.raises(UserError, match=r"--mask-column: .* is read as PASCAL VOC 2012.*leave it out"):
        survey(scenes, hints=Hints(mask="label"))


def test_splits_of_two_data_sets_are_told_apart_by_name(dataset: VocDataset) -> None:
    refuse_other(dataset, {"voc2012": ["voc5", "voc_k2"]})
    with pytest.raises(UserError, match="serves voc5, voc_k2, but context4 needs context59: run the two in commands"):
        refuse_other(dataset, {"voc2012": ["voc5", "voc_k2"], "context59": ["context4"]})
    with pytest.raises(UserError, match="serves splits of voc2012; a split asked for needs context59"):
        refuse_other(dataset, ["context59"])
