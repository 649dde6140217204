"""What a board says in one or two sentences, computed from its records and from nothing else."""

from __future__ import annotations

from .boards import Board, Family
from .groups import Group, Score
from .sweeps import Line, Sweep

PLACES = {"drawn": "the drawn scenes", "real": "the real photographs"}


def points(fraction: float | None) -> str:
    """A fraction as it is printed everywhere: times 100, one decimal; an absent score is a dash."""
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def signed(fraction: float | None) -> str:
    """A difference of fractions in points, with its sign: "+1.3", "−0.4"."""
    return "–" if fraction is None else f"{100 * fraction:+.1f}".replace("-", "−")


def spread(score: Score) -> str:
    """One run's interval as "[27.9, 34.6]", several seeds as "29.8–33.0 over 3 seeds"; empty where there is neither."""
    if score.low is None or score.high is None:
        return ""
    if score.runs > 1:
        return f"{points(score.low)}–{points(score.high)} over {score.runs} seeds"
    return f"[{points(score.low)}, {points(score.high)}]"


def verdict(board: Board) -> list[str]:
    """One or two sentences, and a third where the runs are limited."""
    groups = board.ranked or board.limited
    scored = [group for group in groups if group.score("unseen_only_miou").value is not None]
    where = f"On {PLACES[board.kind]} ({board.run.get('split.name')})"
    if not scored:
        return [f"{where} no run has an unseen-only score: no unseen class occurs in the images that were scored."]
    family = _widest(board, scored)
    said = _leakage(family, where) if family else _best(scored, where)
    return said if board.ranked else [*said, _limit(scored[0])]


MOST_TOLD = 3  # lines of a sweep in words


def trend(sweep: Sweep) -> str:
    """A sweep in one or two sentences: where its first lines begin and end."""
    lines = [line for line in sweep.lines if not line.group.limited] or sweep.lines
    told = [_from_to(line) for line in lines if len(line.points) > 1][:MOST_TOLD]
    said = f"On {PLACES[sweep.kind]}, over K unseen classes ({sweep.title}), unseen mIoU with all names goes {_listed(told)}."
    return f"{said} Limited runs; not for ranking." if lines[0].group.limited else said


def _from_to(line: Line) -> str:
    first, last = (
        (point.k, points(point.group.score("all_unseen_miou").value)) for point in (line.points[0], line.points[-1])
    )
    who = f"{line.group.title} {line.group.settings}".strip()
    return f"from {first[1]} (K = {first[0]}) to {last[1]} (K = {last[0]}) with {who}"


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _widest(board: Board, scored: list[Group]) -> Family | None:
    """The family with both kinds of captions whose naming run scores best."""
    pairs = [f for f in board.pairs if (leaky := f.of("named")) in scored and leaky and f.of("clean") in scored]
    return max(pairs, key=lambda f: _miou(f.of("named")), default=None)


def _leakage(family: Family, where: str) -> list[str]:
    leaky, other = family.of("named"), family.of("clean")
    assert leaky is not None and other is not None  # chosen so by _widest
    gap = _miou(leaky) - _miou(other)
    first = (
        f"{where}, {family.title} trained on captions that name the unseen classes ({leaky.captions}) reaches "
        f"{told(leaky)} unseen-only mIoU; trained on captions that name none of them "
        f"({other.captions}) it reaches {told(other)}, where chance is {_chance(other)}."
    )
    if gap <= 0:
        return [first, f"Here leakage gained nothing (a difference of {points(gap)} points)."]
    if not _apart(other, leaky):
        return [first, f"Their spreads overlap: {points(gap)} points between them show no difference."]
    share = f" ({_per_cent(leaky.dose)} of them name one)" if leaky.dose else ""
    runs = "run is" if len(other.runs) == 1 else "runs are"
    rest = f", and without them the {runs} no better than chance" if at_chance(other) else ""
    return [first, f"The {points(gap)} points between them are what the leaked captions{share} are worth{rest}."]


def _apart(low: Group, high: Group) -> bool:
    """Whether the intervals (or the spans of seeds) leave a gap; without them nothing is claimed."""
    below, above = low.score("unseen_only_miou").high, high.score("unseen_only_miou").low
    return below is not None and above is not None and below < above


def _best(scored: list[Group], where: str) -> list[str]:
    best = scored[0]
    who = f"{best.title} {best.settings}".strip()
    field = who if len(scored) == 1 else f"the best of {len(scored)} configurations, {who},"
    first = f"{where}, {field} reaches {told(best)} unseen-only mIoU, where chance is {_chance(best)}."
    harmonic = best.score("all_harmonic_miou")
    second = f"With all names as candidates its harmonic mean of seen and unseen is {points(harmonic.value)}."
    if best.tone == "named":
        second += " Its captions name unseen classes: this is not a zero-shot score."
    if best.weights:
        unknown = "; nobody knows whether that names unseen classes" if "unknown" in best.weights.lower() else ""
        second += f" It starts from weights trained on {best.weights}{unknown}."
    if best.first.get("supervision.vectors.leaks"):
        second += " Its class vectors come from a corpus that holds unseen classes: this is not a zero-shot score."
    if control := best.first.get("supervision.vectors.control"):
        second += f" Its class vectors are a control ({control}): they tell nothing about the unseen classes."
    if best.first.get("submission"):
        second += " Its label maps were handed in; what it learnt from is declared by the submitter."
    return [first, second]


def _limit(group: Group) -> str:
    scored, listed = (group.first.get(f"data.parts.val.{name}", 0) for name in ("scored", "images"))
    return f"Limited run: {scored:,} of {listed:,} images; not for ranking."


def told(group: Group) -> str:
    score = group.score("unseen_only_miou")
    around = spread(score)
    bracketed = around if around.startswith("[") or not around else f"({around})"
    return f"{points(score.value)} {bracketed}".strip()


def at_chance(group: Group) -> bool:
    """Whether the interval (or the span of seeds) reaches down to chance."""
    score, level = group.score("unseen_only_miou"), group.score("chance_miou").value
    return score.low is not None and level is not None and score.low <= level


def _miou(group: Group | None) -> float:
    return (group and group.score("unseen_only_miou").value) or 0.0


def _chance(group: Group) -> str:
    return points(group.score("chance_miou").value)


def _per_cent(share: float) -> str:
    return f"{100 * share:.2g} %"
