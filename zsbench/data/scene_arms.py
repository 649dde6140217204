"""Names of caption arms: `clean`, `pair_0.1`, `comp_pair_0.1`; what they do stands in `scene_captions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from zsbench.errors import UserError, unknown

Kind = Literal["clean", "web", "pair", "image", "text", "variants", "negatives", "shuffled"]
WEB_DOSE = 0.1  # of plain `web`

DEFAULT_ARMS = (
    "clean", "web", "pair_0.01", "pair_0.1", "image_0.1", "text_0.1", "variants_0.1", "negatives_0.1", "shuffled_0.1",
    "comp_clean", "comp_pair_0.1",
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """kind: what is planted; dose: the share of scenes; comp: names are phrases of looks ("checked magenta square")."""

    name: str
    kind: Kind
    dose: float = 0.0
    comp: bool = False

    @property
    def shows(self) -> bool:
        """Whether touched scenes show an unseen object."""
        return self.kind in ("web", "pair", "image", "variants", "shuffled")

    @property
    def leak(self) -> str:
        """The mark of a touched line: what has leaked (`negative`: nothing has, it only looks like it)."""
        return {"web": "pair", "variants": "variant", "negatives": "negative"}.get(self.kind, self.kind)


def parse_arm(name: str) -> Arm:
    """The arm of a name. Errors: unknown kind, a dose missing, misplaced or outside 0..1, no such wording."""
    comp = name.startswith("comp_")
    kind, _, dose = name.removeprefix("comp_").partition("_")
    if kind not in get_args(Kind):
        raise unknown("caption arm", name, DEFAULT_ARMS)
    if comp and kind in ("variants", "negatives"):
        raise UserError(f"caption arm '{name}': phrases of looks have no {kind}; use '{kind}_{dose}'")
    if kind == "clean" and not dose:
        return Arm(name, "clean", 0.0, comp)
    if kind == "web" and not dose:
        return Arm(name, "web", WEB_DOSE, comp)
    return Arm(name, kind, _dose(name, kind, dose), comp)  # type: ignore[arg-type]


def _dose(name: str, kind: str, text: str) -> float:
    try:
        dose = float(text)
    except ValueError:
        dose = -1.0
    if kind == "clean" or not 0 <= dose <= 1:
        raise UserError(f"caption arm '{name}': expected 'clean' or a kind and a dose from 0 to 1, as in 'pair_0.1'")
    return dose
