"""Numbers of papers as they are shipped: their digits, their marks, the form of a file, and the commands that print them."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from zsbench.reports.printed import read_cell
from zsbench.reports.published import Published, paper, papers, parsed, read_paper, targets, values_of

from zsbench.cli import main
from zsbench.errors import UserError
from zsbench.split import list_splits, load_split

FOLDER = Path(__file__).parents[1] / "reports" / "published"
EVIL = "<script>alert(1)</script>\x1b[31m"

# CaGNet's README, version 2, as it stands there: fractions; hIoU, mIoU, PA, MA, S-mIoU, U-mIoU, U-PA, U-MA.
README = {
    "PASCAL VOC": """
SPNet            0.0002 0.5687 0.7685 0.7093 0.7583 0.0001 0.0007 0.0001
SPNet-c          0.2610 0.6315 0.7755 0.7188 0.7800 0.1563 0.2955 0.2387
ZS3Net           0.2874 0.6164 0.7941 0.7349 0.7730 0.1765 0.2147 0.1580
CaGNet(pi)       0.3972 0.6545 0.8068 0.7636 0.7840 0.2659 0.4297 0.3940
CaGNet(pa)       0.4326 0.6623 0.8068 0.7643 0.7814 0.2990 0.5176 0.4710
ZS3Net+ST        0.3328 0.6302 0.8095 0.7382 0.7802 0.2115 0.3407 0.2637
CaGNet(pi)+ST    0.4366 0.6577 0.8164 0.7560 0.7859 0.3031 0.5855 0.5071
CaGNet(pa)+ST    0.4528 0.6657 0.8036 0.7650 0.7813 0.3188 0.5939 0.5417""",
    "COCO-Stuff": """
SPNet            0.0140 0.3164 0.5132 0.4593 0.3461 0.0070 0.0171 0.0007
SPNet-c          0.1398 0.3278 0.5341 0.4363 0.3518 0.0873 0.2450 0.1614
ZS3Net           0.1495 0.3328 0.5467 0.4837 0.3466 0.0953 0.2275 0.2701
CaGNet(pi)       0.1819 0.3345 0.5658 0.4845 0.3549 0.1223 0.2545 0.2701
CaGNet(pa)       0.1984 0.3327 0.5632 0.4909 0.3468 0.1389 0.2962 0.3132
ZS3Net+ST        0.1620 0.3372 0.5631 0.4862 0.3489 0.1055 0.2488 0.2718
CaGNet(pi)+ST    0.1946 0.3372 0.5676 0.4854 0.3555 0.1340 0.2670 0.2728
CaGNet(pa)+ST    0.2269 0.3456 0.5711 0.4629 0.3617 0.1654 0.3702 0.2567""",
    "PASCAL Context": """
SPNet            0      0.2938 0.5793 0.4486 0.3357 0      0      0
SPNet-c          0.0718 0.3079 0.5790 0.4488 0.3514 0.0400 0.1673 0.1361
ZS3Net           0.1246 0.3010 0.5710 0.4442 0.3304 0.0768 0.1922 0.1532
CaGNet(pi)       0.2061 0.3347 0.5975 0.4900 0.3610 0.1442 0.3976 0.3248
CaGNet(pa)       0.2135 0.3243 0.5816 0.5082 0.3718 0.1498 0.3981 0.3412
ZS3Net+ST        0.1488 0.3102 0.5842 0.4532 0.3398 0.0953 0.3030 0.1721
CaGNet(pi)+ST    0.2252 0.3352 0.5951 0.4962 0.3644 0.1630 0.4038 0.4214
CaGNet(pa)+ST    0.2478 0.3364 0.5832 0.4964 0.3482 0.1923 0.4075 0.4023""",
}
ORDER = ("h", "mIoU", "pAcc", "mAcc", "S", "U", "U_PA", "U_MA")

# method, split, setting ("" for any) and what must stand there, in per cent, digit by digit; R and C mark the number.
LITERATURE = """
ViL-Seg|voc5||U 34.42 U_PA 76.03
ViL-Seg|context4||U 16.32 U_PA 45.64
ViL-Seg|coco15||U 16.43 U_PA 32.58
ViL-Seg + ST|voc5||U 37.30 U_PA 85.62
ViL-Seg + ST|context4||U 18.94 U_PA 50.14
ViL-Seg + ST|coco15||U 18.05 U_PA 35.23
CLIP + Seg|voc5||U 27.40 U_PA 48.35
CLIP + Seg|context4||U 14.52 U_PA 37.48
ViL-Seg|voc20||mIoU 33.61 pAcc 75.97
ViL-Seg without vision loss|voc20||mIoU 22.05 pAcc 50.76
ViL-Seg, offline K-means|voc20||mIoU 30.97 pAcc 69.88
SIGN|voc5||U 28.86
SIGN|context33_4||U 14.93 S 33.67R h 20.67R
SIGN + ST|voc5||U 33.12
SIGN + ST|context33_4||U 16.71
SIGN + ST|coco15||U 15.15
SIGN|coco15||U 15.47
SIGN|voc5||S 75.4 U 28.9 h 41.7
JoEm|voc5||S 77.7 U 32.5 h 45.9
ZegFormer|voc5||S 86.4 U 63.6 h 73.3
zsseg|voc5||pAcc 90.0 S 83.5 U 72.5 h 77.5
ZegCLIP|voc5|inductive|pAcc 94.6 S 91.9 U 77.8 h 84.3
ZegCLIP|voc5|transductive|pAcc 95.1 S 91.8 U 82.2 h 86.7
ZegCLIP|voc5|fully supervised|pAcc 96.3 S 92.4 U 90.9 h 91.6
FreeSeg|voc5||S 91.9 U 78.6 h 84.7
ZegFormer + MAFT|voc5||S 91.5 U 80.7 h 85.7
zsseg + MAFT|voc5||S 87.1 U 76.1 h 81.2
AlignCLIP|voc5||S 93.1 U 84.5 h 88.6
Cascade-CLIP|voc5|inductive|S 92.5 U 83.0 h 87.5C
Cascade-CLIP|voc5|transductive|S 93.6 U 93.2 h 93.4C
RPN|voc5||pAcc 95.8 S 93.1 U 84.6 h 88.6
RPN + ST|voc5||pAcc 97.1 S 93.1 U 93.6 h 93.3
SPNet + ST|voc5||mIoU 64.8 S 77.8 U 25.8 h 38.8
SIGN + AST|voc5||S 83.5R U 41.3R h 55.3R
STRICT|voc5||mIoU 70.9 S 82.7 U 35.6 h 49.8
STRICT|voc5 with background as a seen class||S 74.7 U 14.3 h 24.0
DiffuMask|voc5||S 71.4 U 65.0 h 68.1
zsseg + ST|voc5||pAcc 88.7 S 79.2 U 78.1 h 79.3
MaskCLIP+|voc5||mIoU 87.8–88.1 S 88.8 U 86.1 h 87.4
ZegCLIP + ST|voc5||pAcc 96.2 S 92.3 U 89.9 h 91.1
SPNet|voc5||U 49.5
FreeSeg|voc5||U 88.55
FreeSeg|voc5||U 78.65
zsseg, a user's run|voc5||U 62.85
ZegCLIP, a user's run|voc5||U 61.4
ZS3Net|context_k10||pAcc 52.8 mIoU 19.4 S 20.8 U 12.7 h 15.8
CaGNet|context_k10||mIoU 23.2 S 24.1 U 18.5 h 21.2
ZegCLIP|context_k10|inductive|pAcc 76.2 S 46.0 U 54.6 h 49.9
RPN|context_k10||pAcc 76.4 S 47.7 U 58.7 h 52.6
ZS3Net + ST|context_k10||pAcc 49.5 mIoU 26.0 S 27.0 U 20.7 h 23.4
MaskCLIP+|context_k10||S 44.4 U 66.7 h 53.3
ZegCLIP + ST|context_k10||pAcc 77.3 S 46.8 U 68.5 h 55.6
RPN + ST|context_k10||pAcc 78.3 S 48.1 U 70.8 h 57.3
ZegCLIP|context_k10|fully supervised|pAcc 77.5 S 46.5 U 78.7 h 56.9
AlignCLIP|50 / 10 with another set of unseen classes||S 55.1 U 50.0 h 52.4
Cascade-CLIP|50 / 10 with another set of unseen classes|transductive|S 56.4 U 55.0
CaGNet (pi)|coco15||pAcc 56.6 S 35.5 U 12.2 h 18.2
CaGNet (pi)|coco15||S 33.5 U 12.2 h 18.2
ZegFormer|coco15||S 36.6 U 33.2 h 34.8
zsseg|coco15||pAcc 60.3 S 39.3 U 36.3 h 37.8
ZegCLIP|coco15|inductive|pAcc 62.0 S 40.2 U 41.4 h 40.8
ZegCLIP|coco15|inductive|S 40.2 U 41.1 h 40.8
FreeSeg|coco15||S 42.4 U 42.2 h 42.3
RPN|coco15||pAcc 64.4 S 40.8 U 42.8 h 41.8
STRICT|coco15||mIoU 34.9 S 35.3 U 30.3 h 32.6
STRICT|coco15||S 35.3 U 30.3 h 34.8
SIGN + AST|coco15||S 31.9R U 17.5R h 22.6R
ZegCLIP + ST|coco15||pAcc 69.2 S 40.7 U 59.9 h 48.5
RPN + ST|coco15||pAcc 69.3 S 40.6 U 61.2 h 48.8
ZegFormer|coco15||U 61.5
ZegFormer-seg|coco15||U 21.4 h 27.2
SPNet with FPN|coco15||U 11.0 h 16.4
ZegFormer, released weights|coco15||S 36.6 U 36.2
SPNet with FPN|275 unseen classes||U 0.9
baseline of ZS3Net|voc_k2||S 68.1R U 3.2 h 6.1R
ZS3Net|voc_k2||S 72.0R U 35.4 h 47.5R
ZS3Net|voc_k4||S 66.4 U 23.2 h 34.4R
ZS3Net|voc_k8||S 29.2R U 22.9R h 25.7R
ZS3Net|voc_k10||S 33.9 U 18.1 h 23.6R mIoU 26.3
CSRL|voc_k6||S 66.2R U 29.4R h 40.7R
JoEm|voc_k10||S 63.4 U 22.5 h 33.2R
JoEm|voc_k10||S 63.5
CaGNet|voc_k4||S 69.5 U 40.2 h 50.9R
PMOSR|voc_k10||S 72.1 U 33.9 h 46.1C
CLIPSeg|voc_k4||S 20.8 U 47.3
baseline of ZS3Net|voc_k10||U 41.7
ZS3Net|context_k2||S 41.6R U 21.6 h 28.4R
ZS3Net + GCN|context_k2||S 41.5R U 30.0 h 34.8R
SPNet|context_k8||S 28.6R U 14.3R h 19.1R
CSRL|context_k4||S 39.8R U 23.9R h 29.9R
JoEm|context_k10||S 33.0 U 14.9 h 20.5
MaskCLIP, ViT-B/16|voc20||mIoU 49.5
MaskCLIP, ViT-B/16|59 names||mIoU 21.7
SCLIP|voc20||mIoU 81.54
SCLIP|Cityscapes||mIoU 32.34
GroupViT, GCC + RedCaps|1,000 names||accuracy 51.6
CAT-Seg-L, CVPR version|20 names and background||mIoU 82.5
FC-CLIP-L|847 names||mIoU 14.8
CAT-Seg-L|MESS||mIoU 38.14
supervised|MESS||mIoU 71.13
"""
COUNTS = {"cagnet": (28, 196), "coco15": (39, 113), "context": (15, 55), "open_vocabulary": (88, 88), "unread": (0, 0),
          "vilseg": (18, 36), "vilseg_quoted": (24, 33), "voc5": (36, 106), "zs3_k_splits": (53, 154)}  # fmt: skip

OWN = """
title = "Mine"
source = "A paper of mine"
certainty = "P"
notes = []

[[protocol]]
table = "Table 1"
data = "Cats"
columns = ["S", "U", "h", "mIoU"]
datasets = []
split = "cats"
scope = "all"
background = "ignored"
resolution = "original"
classes = [3, 1]

[[row]]
table = "Table 1"
row = "Ours"
setting = "inductive"
scores = { "Cats" = [60.0, 40.0, 48.0, 55.0] }
"""

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """`zsbench published ARGS` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["zsbench"])
    return lambda *args: CliRunner().invoke(main, ["published", *map(str, args)])


def own(tmp_path: Path, text: str = OWN) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return file


# what stands in the files


def test_cagnets_readme_digit_by_digit() -> None:
    values = {
        (v.row.replace(" ", ""), v.protocol.data): v for v in paper("cagnet").values if v.protocol.table == "version 2"
    }
    assert len(values) == 24
    for data, table in README.items():
        for line in table.strip().splitlines():
            row, *cells = line.split()
            for column, cell in zip(ORDER, cells, strict=True):
                printed = values[row, data].numbers[column]
                assert Decimal(printed.text) == 100 * Decimal(cell), (row, data, column)
                assert cell == "0" or printed.digits == 2


@pytest.mark.parametrize("line", LITERATURE.strip().splitlines())
def test_what_papers_print_stands_here_digit_by_digit(line: str) -> None:
    method, split, setting, told = line.split("|")
    words = told.split()
    wanted = dict(zip(words[::2], words[1::2], strict=True))
    assert any(fits(value, wanted) for value in rows(method, split, setting)), line


def rows(method: str, split: str, setting: str) -> list[Published]:
    every = [v for v in values_of(papers()) if (v.method, v.protocol.split) == (method, split)]
    return [value for value in every if setting in ("", value.setting)]


def fits(value: Published, wanted: dict[str, str]) -> bool:
    for column, text in wanted.items():
        number = value.numbers.get(column)
        if number is None or number.text != text.rstrip("RC"):
            return False
        if (number.mark in "RC") != text.endswith(("R", "C")) or (text[-1] in "RC" and text[-1] != number.mark):
            return False
    return True


def test_nothing_is_lost_and_nothing_added() -> None:
    found = {one.name: (len(one.values), sum(len(value.numbers) for value in one.values)) for one in papers()}
    assert found == COUNTS
    assert sorted(file.stem for file in FOLDER.glob("*.toml")) == sorted(COUNTS)


def test_every_row_says_where_it_comes_from() -> None:
    for value in values_of(papers()):
        assert value.printed_by and value.method and value.numbers, value
        assert value.certainty and value.setting and value.resolution


def test_a_split_of_ours_is_named_as_ours() -> None:
    named = {value.protocol.split for value in values_of(papers())}
    ours = set(list_splits())
    assert {"voc5", "voc20", "voc_k2", "voc_k10", "context_k10", "context33_4", "context4", "coco15"} <= named & ours
    assert not {name for name in named - ours if name.startswith(("voc_", "context_", "coco1"))}


def test_seen_and_unseen_classes_of_a_protocol_are_those_of_our_split() -> None:
    ours = {name: load_split(name) for name in list_splits()}
    held = [value for value in values_of(papers()) if value.protocol.classes and value.protocol.split in ours]
    assert len(held) > 100
    for value in held:
        split = ours[value.protocol.split]
        assert value.protocol.classes == (len(split.seen), len(split.unseen)), value.place


def test_recalled_and_computed_numbers_are_nobodys_target() -> None:
    every = [number for value in values_of(papers()) for number in value.numbers.values()]
    marks = [number.mark for number in every]
    assert {mark: marks.count(mark) for mark in "RC"} == {"R": 120, "C": 6}
    found = targets()
    assert len(found) == len(every) - 126 and {number.mark for _, _, number in found} == {"A", "P", "Q"}
    held = {(value.method, value.protocol.split, column) for value, column, _ in found}
    assert ("SIGN + AST", "voc5", "U") not in held and ("CSRL", "context_k4", "U") not in held
    assert ("ZS3Net", "voc_k2", "U") in held and ("ZS3Net", "voc_k2", "S") not in held


def test_papers_without_a_table_have_no_numbers() -> None:
    unread = {one.method: one for one in paper("unread").unread}
    assert unread.keys() == {"ZS-MMD", "SwinZS3"} and not paper("unread").values
    assert "most cases" in unread["ZS-MMD"].claims[0]
    assert not any(value.method in unread for value in values_of(papers()))


# numbers as they are printed


@pytest.mark.parametrize(
    ("cell", "text", "low", "high"),
    [
        (Decimal("78.40"), "78.40", "78.395", "78.405"),
        (Decimal("78.4"), "78.4", "78.35", "78.45"),
        (22, "22", "21.5", "22.5"),
        (0, "0", "0", "0.5"),
        ("72.0 R", "72.0", "71.95", "72.05"),
        ("87.8-88.1 A", "87.8–88.1", "87.75", "88.15"),
        ("48.8-49", "48.8–49", "48.75", "49.5"),
    ],
)
def test_the_digits_say_what_rounding_leaves_open(cell: int | Decimal | str, text: str, low: str, high: str) -> None:
    number = read_cell(cell, "P")
    assert number is not None and (number.text, number.bounds) == (text, (Fraction(low), Fraction(high)))


@pytest.mark.parametrize(
    "cell", ["", "72.0 X", "a", "100.1", "9-8", Decimal("-1"), Decimal("nan"), Decimal("1e1"), True, "1,5"]
)
def test_a_cell_that_is_no_number_is_none(cell: int | Decimal | str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_cell(cell, "P")


# the form of a file


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('title = "Mine"\n', "", "'title' is missing"),
        ('certainty = "P"', 'certainty = "sure"', "'certainty' is 'sure', expected A or P or Q or R or C"),
        ('scope = "all"', 'scope = "most"', r"'protocol\[0\].scope' is 'most', expected unseen or all or"),
        ('setting = "inductive"', 'settng = "inductive"', r"no field 'row\[0\].settng'; did you mean 'setting'"),
        ('"h", "mIoU"]', '"h", "mIOU"]', r"'protocol\[0\].columns\[3\]' is 'mIOU'"),
        ('"h", "mIoU"]', '"h", "h"]', "columns are named once each"),
        ("48.0, 55.0", "48.0", r"3 cells on Cats, expected \[S, U, h, mIoU\] in per cent"),
        ("48.0", "148.0", "148.0 on Cats, expected a number from 0 to 100 in per cent"),
        ("48.0", '"about 48"', "'about 48' on Cats, expected a number"),
        ("48.0", "nan", "on Cats, expected a number"),
        ("48.0", "true", "expected a number"),
        ("classes = [3, 1]", "classes = [3]", r"classes are \[\] or \[seen, unseen\]"),
        ("classes = [3, 1]", "classes = [0, 1]", "above 0"),
        ("classes = [3, 1]", "names = [4, 3]", "lowest, highest"),
        ('"Cats" = [60', '"Dogs" = [60', "a score on 'Dogs', which no protocol describes"),
        ("[[row]]", "[[row]", "no TOML"),
        ("[[row]]", "[row]", "'row' is .*expected a list"),
        ("[[protocol]]", "protocol = 3\n[[other]]", "no field 'other'"),
    ],
)  # fmt: skip
def test_a_file_of_another_form_is_refused_in_one_sentence(tmp_path: Path, old: str, new: str, why: str) -> None:
    assert old in OWN
    with pytest.raises(UserError, match=f"mine.toml: .*{why}"):
        read_paper(own(tmp_path, OWN.replace(old, new, 1)))


def test_rows_and_protocols_stand_once() -> None:
    row, protocol = OWN[OWN.index("[[row]]") :], OWN[OWN.index("[[protocol]]") : OWN.index("[[row]]")]
    with pytest.raises(UserError, match="two rows 'Ours' of Table 1 on Cats"):
        parsed(OWN + row, "x")
    with pytest.raises(UserError, match="two protocols of Table 1, Cats"):
        parsed(OWN + protocol, "x")


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"picture.toml is no text in UTF-8"):
        read_paper(tmp_path / "picture.toml")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_paper(tmp_path)
    with (tmp_path / "long.toml").open("wb") as file:
        file.truncate(5 * 2**20)
    with pytest.raises(UserError, match="larger than 4 MiB"):
        read_paper(tmp_path / "long.toml")
    with pytest.raises(UserError, match="no TOML"):
        parsed("a = " + "[" * 100_000, "x")


def test_a_claim_on_a_number_that_is_not_there_is_refused(tmp_path: Path, call: Call) -> None:
    claim = """
[[claim]]
says = "a gain"
gain = 1.0
of = { table = "Table 1", row = "Ours", data = "Cats", column = "U" }
over = [{ table = "Table 1", rows = ["Theirs"], data = "Cats", column = "U" }]
"""
    result = call("check", own(tmp_path, OWN + claim))
    assert result.exit_code == 2 and "mine.toml has no number U of row 'Theirs'" in result.stderr
    with pytest.raises(UserError, match="'claim' 'a gain' needs a gain and at least one row"):
        parsed(OWN + claim.replace('"Theirs"', ""), "x")


# the commands


def test_list_finds_a_split_and_a_method(call: Call) -> None:
    result = call("list", "--split", "voc5", "--method", "zs3net")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split()[:4] == ["method", "split", "S", "U"] and all("voc5" in line for line in lines[1:])
    assert "77.30" in result.stdout and "labels at about an eighth of the size" in result.stdout
    assert (
        "31.7 (R)" in call("list", "--split", "voc_k10").stdout
        and "no target" in call("list", "--split", "voc_k10").stdout
    )


def test_list_as_csv_and_json(call: Call) -> None:
    told = list(csv.DictReader(io.StringIO(call("list", "--csv").stdout)))
    assert len(told) == sum(count for count, _ in COUNTS.values()) == len(json.loads(call("list", "--json").stdout))
    [row] = [row for row in told if (row["row"], row["split"]) == ("CSRL", "voc_k10")]
    assert (row["U"], row["marked"], row["background"]) == ("21.0", "h recalled, not checked", "seen")


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("list", "--split", "vocc5"), "no published split named 'vocc5'. Did you mean 'voc5'?"),
        (("list", "--method", "zegklip"), "no published method named 'zegklip'. Did you mean 'ZegCLIP'?"),
        (("show", "cagnett"), "no file of published numbers named 'cagnett'. Did you mean 'cagnet'?"),
        (("show", "nothing.toml"), "nothing.toml cannot be read"),
        (("check", "nothing.toml"), "nothing.toml cannot be read"),
    ],
)
def test_a_wrong_name_is_told(call: Call, args: tuple[str, ...], why: str) -> None:
    result = call(*args)
    assert result.exit_code == 2 and why in result.stderr and result.stdout == ""


def test_show_prints_a_file_whole(call: Call) -> None:
    for name in COUNTS:
        assert call("show", name).exit_code == 0
    said = call("show", "vilseg").stdout
    assert "34.42" in said and "25 clusters in the settings and 20 in the ablation" in said
    assert "no table could be read" in call("show", "unread").stdout


def test_users_own_files_are_listed_shown_and_checked(tmp_path: Path, call: Call) -> None:
    file = own(tmp_path)
    assert "60.0" in call("list", file).stdout and "A paper of mine" in call("show", file).stdout
    result = call("check", "--strict", file)
    assert result.exit_code == 0 and "0 failures in 2 checks of 4 numbers, 1 file; 0 problems" in result.stdout


def test_outside_text_moves_no_terminal_and_runs_in_no_spreadsheet(tmp_path: Path, call: Call) -> None:
    escaped = json.dumps(EVIL)[1:-1]
    file = own(
        tmp_path, OWN.replace('"Ours"', f'"{escaped}"').replace("A paper of mine", "=1+1").replace("48.0", "50.0")
    )
    for args in (("list", file), ("show", file), ("check", file)):
        assert "\x1b" not in call(*args).stdout and "script" in call(*args).stdout
    for args in (("list", "--csv", file), ("check", "--csv", file)):
        assert "'=1+1" in call(*args).stdout


def test_the_form_in_the_documentation_is_one_that_is_read() -> None:
    text = (Path(__file__).parents[1] / "docs" / "published.md").read_text(encoding="utf-8")
    form, more = (block.split("```")[0] for block in text.split("```toml\n")[1:])
    [value] = parsed(form, "form.toml").values
    assert {column: (number.text, number.mark) for column, number in value.numbers.items()} == {
        "S": ("78.40", "P"), "U": ("26.6", "R"), "h": ("39.7", "P"),
    }  # fmt: skip
    found = parsed(form + more, "form.toml")
    assert found.claims[0].over[1].row == "CaGNet (pa)" and len(found.twins) == 1
