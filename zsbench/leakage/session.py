"""What `zsbench leakage-scan` does: corpora and splits become scans, scans become parts, parts become reports."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from zsbench.atomic import write_json
from zsbench.errors import UserError
from zsbench.leakage import drawn, hits, limits, review, scan
from zsbench.leakage.lexicon import DEFAULT_LEVEL, Lexicon, file_lexicon, lexicon_from_dict, split_lexicon
from zsbench.leakage.outside import read_outside
from zsbench.leakage.reading.fragments import Fragment, plan
from zsbench.leakage.report import Block, Facts, build
from zsbench.split import Split, load_split

if TYPE_CHECKING:  # its readers and writers are needed for a purge only
    from zsbench.leakage.purging.corpus import Mode

DEFAULT_CORPUS = "web"
PLAN = "plan.json"
PLAN_SCHEMA = 1


@dataclass(frozen=True)
class Scan:
    """One corpus against one split's lexicon."""

    corpus: str
    drawn: bool
    split: Block
    fragments: tuple[Fragment, ...]
    job: scan.Job

    def as_dict(self) -> Block:
        told = {"corpus": self.corpus, "drawn": self.drawn, "split": self.split}
        job = {"lexicon": self.job.lexicon.as_dict(), "examples": self.job.examples, "hits": self.job.hits}
        return told | job | {"fragments": [fragment.as_dict() for fragment in self.fragments]}

    @classmethod
    def from_dict(cls, value: Block) -> Scan:
        fragments = tuple(Fragment.from_dict(fragment) for fragment in value["fragments"])
        job = scan.Job(lexicon_from_dict(value["lexicon"]), value["examples"], value["hits"])
        return cls(value["corpus"], value["drawn"], value["split"], fragments, job)


@dataclass(frozen=True)
class Wanted:
    """What to scan for what; see the options of `zsbench leakage-scan`."""

    splits: Sequence[str] = ("voc5",)
    captions: Sequence[str] = ()
    data: Path | None = None
    format: str | None = None
    column: str | None = None
    lexicon: Path | None = None
    level: int = DEFAULT_LEVEL
    scope: str = "unseen"
    examples: int = 5
    hits: bool = False
    fragment_bytes: int = 128 << 20


def scans(wanted: Wanted) -> list[Scan]:
    """Every corpus against every split. Raises UserError for whatever cannot be found or told."""
    found = []
    splits = [load_split(name) for name in wanted.splits]
    for spec in wanted.captions or (DEFAULT_CORPUS,):
        name, arm, path = _corpus(spec, wanted)
        if not splits:
            found.append(_own_classes(name, arm, path, wanted))
        fragments = _fragments(path, wanted) if splits else ()
        for split in splits:
            job = scan.Job(_lexicon(split, arm, wanted), wanted.examples, wanted.hits)
            found.append(Scan(name, arm is not None, _split_block(split, wanted.scope), fragments, job))
    return found


def _own_classes(name: str, arm: str | None, path: str, wanted: Wanted) -> Scan:
    """A corpus against the classes of a user's lexicon, which are no split."""
    if wanted.lexicon is None:
        raise UserError("nothing to look for: name a --split, or a --lexicon of your own classes")
    lexicon = file_lexicon(wanted.lexicon, wanted.level)
    title = f"the classes of {wanted.lexicon.name}"
    block = {"name": wanted.lexicon.stem, "title": title, "fingerprint": lexicon.fingerprint, "scope": "all"}
    return Scan(name, arm is not None, block, _fragments(path, wanted), scan.Job(lexicon, wanted.examples, wanted.hits))


def _fragments(path: str, wanted: Wanted) -> tuple[Fragment, ...]:
    return tuple(plan([path], format=wanted.format, column=wanted.column, fragment_bytes=wanted.fragment_bytes))


def _corpus(spec: str, wanted: Wanted) -> tuple[str, str | None, str]:
    """Name, drawn arm if it is one, and what to open. A file goes before an arm of the same name."""
    try:
        path = Path(spec).expanduser()
    except RuntimeError as error:
        raise UserError(f"no captions at {spec}: {error}") from error
    file = None if path.exists() else drawn.arm_file(spec, wanted.data)
    arm = drawn.drawn_arm(file or path)
    name = f"drawn: {arm}" if arm else spec.rstrip("/").rpartition("/")[2] or spec
    return name, arm, str(file or spec)


def _lexicon(split: Split, arm: str | None, wanted: Wanted) -> Lexicon:
    if arm is not None and drawn.names_by_looks(arm) and not wanted.lexicon:
        return drawn.looks_lexicon(split, wanted.scope)
    return split_lexicon(split, wanted.level, wanted.lexicon, wanted.scope)


def _split_block(split: Split, scope: str) -> Block:
    return {"name": split.name, "title": split.title, "fingerprint": split.fingerprint, "scope": scope}


def write_plan(found: Sequence[Scan], out: Path) -> Path:
    path = out / PLAN
    write_json(path, {"schema": PLAN_SCHEMA, "kind": "leakage plan", "scans": [item.as_dict() for item in found]})
    return path


def read_plan(out: Path) -> list[Scan]:
    """The scans of a planned folder. Raises UserError where nothing (readable) is planned."""
    path = out / PLAN if out.is_dir() else out
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["schema"] != PLAN_SCHEMA:
            raise UserError(f"{path} was planned by another version of zsbench; plan again.")
        return [Scan.from_dict(item) for item in value["scans"]]
    except FileNotFoundError:
        raise UserError(f"no plan at {path}; make one: zsbench leakage-scan plan --captions … --out {out}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no plan of a leakage scan; plan again.") from error


def plan_folder(out: Path) -> Path:
    """The folder of a plan, which may be given by its file."""
    return out if out.is_dir() else out.parent


def parts_of(item: Scan, out: Path) -> scan.Parts:
    return scan.Parts(out / "parts", item.job)


def parse_shard(text: str) -> tuple[int, int]:
    """`2/16`: the second of sixteen shards, counted from 1."""
    number, _, count = text.partition("/")
    if not (text.isascii() and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise UserError(f"--shard {text!r}: expected I/N with I from 1 to N, e.g. 2/16")
    return int(number), int(count)


@dataclass(frozen=True)
class Made:
    """What running a scan took. parts: fragments read; of: fragments asked for; seconds: 0 where any was there before."""

    parts: int
    of: int
    seconds: float


def run(
    found: Sequence[Scan], out: Path, *, jobs: int = 0, shard: tuple[int, int] = (1, 1), workers: Workers | None = None
) -> list[Made]:
    """Makes the missing parts of this shard, scan by scan. Progress on stderr."""
    return [_run(item, out, jobs, shard, workers) for item in found]


def _run(item: Scan, out: Path, jobs: int, shard: tuple[int, int], workers: Workers | None) -> Made:
    mine, parts, begun = item.fragments[shard[0] - 1 :: shard[1]], parts_of(item, out), time.perf_counter()
    todo = scan.missing(mine, parts)
    with _bar(f"{item.corpus} × {item.split['name']}", sum(fragment.bytes for fragment in todo)) as progress:
        made = workers(todo, parts, progress) if workers else scan.run(todo, parts, jobs, progress)
    return Made(made, len(mine), time.perf_counter() - begun if made == len(mine) else 0.0)


Workers = Callable[[Sequence[Fragment], scan.Parts, scan.Progress], int]


@contextmanager
def _bar(text: str, size: int) -> Iterator[scan.Progress]:
    with tqdm(total=size or None, desc=text, unit="B", unit_scale=True, unit_divisor=1000, disable=None) as bar:

        def told(more: int) -> None:
            bar.update(more)

        yield told


def unfinished(found: Sequence[Scan], out: Path) -> int:
    """Fragments without a part."""
    return sum(not parts_of(item, out).is_done(fragment) for item in found for fragment in item.fragments)


def reports(
    found: Sequence[Scan],
    out: Path,
    *,
    command: str = "",
    made: Sequence[Made] = (),
    max_bad: float = 0.0,
    judged: Path | None = None,
    outside: Sequence[Path] = (),
    review_out: Path | None = None,
    limit: Mapping[str, Any] | None = None,
) -> list[Block]:
    """The reports of scans whose parts are all there, judged by `limit` (arguments of `limits.judge`)."""
    written, samples, scanned = [], [], sampled(found)
    for old in out.glob("hits*.parquet"):
        old.unlink()  # of an earlier report in this folder
    for number, item in enumerate(found):
        parts, lexicon = parts_of(item, out), item.job.lexicon
        tally = scan.fold(item.fragments, parts)
        samples.append((scanned[number], tally))
        if item.job.hits:
            placed = ((parts.hits(p.fragment), p.first) for p in scan.in_place(item.fragments, parts))
            name = "hits.parquet" if len(found) == 1 else f"hits-{number + 1}.parquet"
            hits.join(placed, out / name)
        facts = Facts(
            corpus=item.corpus,
            sources=source_blocks(item.fragments),
            split=item.split,
            drawn=item.drawn,
            fingerprint=scan.corpus_fingerprint(item.fragments),
            seconds=made[number].seconds if made else 0.0,
            command=command,
            max_bad=max_bad,
            judged=review.read_judged(judged, scanned[number], scanned) if judged else None,
            outside=[read_outside(path, lexicon) for path in outside],
        )
        written.append(limits.judge(build(tally, lexicon, facts), **(limit or {})))
    if review_out:
        review.write_sample(review_out, samples)
    return written


def sampled(found: Sequence[Scan]) -> list[review.Sampled]:
    return [review.Sampled(scan.corpus_fingerprint(item.fragments), item.job.lexicon) for item in found]


def check_reporting(
    found: Sequence[Scan],
    *,
    fail_over: str | None,
    fail_on: Sequence[str],
    judged: Path | None,
    review_out: Path | None,
    outside: Sequence[Path],
) -> None:
    """Raises UserError for what the report would stumble over, before hours are spent on scanning."""
    limits.check([name for item in found for name in item.job.lexicon.classes], fail_over, fail_on)
    if review_out:
        review.refuse_answers(review_out)
    scanned = sampled(found)
    for item, own in zip(found, scanned, strict=True):
        if judged:
            review.read_judged(judged, own, scanned)
        for path in outside:
            read_outside(path, item.job.lexicon)


def source_blocks(fragments: Sequence[Fragment]) -> list[Block]:
    """Per source what it is and how large."""
    blocks: dict[str, Block] = {}
    for fragment in fragments:
        told = {"source": fragment.source, "format": fragment.format, "column": str(fragment.column or ""), "bytes": 0}
        blocks.setdefault(fragment.source, told)["bytes"] += fragment.bytes
    return list(blocks.values())


def purge(found: Sequence[Scan], out: Path, mode: Mode, command: str) -> Iterator[str]:
    """Writes every corpus without the captions that name a class; a line for each."""
    from zsbench.leakage.purging.corpus import purge as purge_corpus

    for number, item in enumerate(found):
        where = out if len(found) == 1 else out / f"{number + 1}"
        size = sum(fragment.bytes for fragment in item.fragments)
        with _bar(f"{item.corpus}, purged", size) as progress:
            manifest = purge_corpus(item.fragments, item.job.lexicon, where, mode, command=command, progress=progress)
        totals, modes = manifest["totals"], dict.fromkeys(file["mode"] for file in manifest["files"])
        yield f"{where}: {totals['kept']:,} of {totals['rows']:,} captions kept ({', '.join(modes)})"
