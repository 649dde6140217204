"""CLIP + Seg: dense CLIP features against the features of class names.

The baseline of Liu et al. (ViL-Seg, ECCV 2022): CLIP "with its global attention pooling layer removed", no training for
segmentation at all. Every patch is named by the nearest class. Which rule the last attention follows is a field: as it
is (`plain`), its value path (`value`, MaskCLIP, Zhou et al. 2022), `qq+kk` (SCLIP), `kk+gauss` (NACLIP), `qq` (ClearCLIP).
With pretrained = "captions", CLIP itself is trained here, on the captions of the run, so that its leak can be measured.
docs/methods/clip-seg.md has the rules, the options and what to expect.
Legend: B images, N names, Q queries (one per name or per synonym), h w patch grid, n = h·w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.config import refuse_below
from zsbench.data.view import TrainView
from zsbench.errors import UserError
from zsbench.method import Departure, Job
from zsbench.nn import wording
from zsbench.nn.attention import Attention, Rule
from zsbench.nn.captioned_clip import CAPTIONS, ClipRecipe, clip_for, refuse_folder, start_of
from zsbench.nn.clip import SMALL_VIT, Towers
from zsbench.nn.dense import require_rule
from zsbench.nn.encoder import Encoder, Switch, attention_of
from zsbench.nn.smoothing import KeyAxis, denoised, smoothed
from zsbench.nn.weights import refuse_absent
from zsbench.nn.windows import slide
from zsbench.supervision import Supervision


@dataclass(frozen=True)
class ClipSeg:
    """CLIP + Seg's whole configuration; `departures` names what the paper leaves open."""

    encoder: str = "ViT-B-16"
    pretrained: str = "openai"
    attention: Rule = "value"
    residual: Switch = "published"
    ffn: Switch = "published"
    gauss_std: float = 5.0
    templates: str = wording.SINGLE
    prompt: str = "a photo of a {}."
    synonyms: str = ""
    synonym_rule: wording.Rule = "average"
    prompt_denoising: float = 0.0
    key_smoothing: float = 0.0
    key_axis: KeyAxis = "channel"
    background_threshold: float = 0.0
    scale: float = 0.0
    test_size: int = 448
    window: int = 0
    window_step: int = 0
    view_size: int = 224
    steps: int = 48_000
    batch: int = 768
    lr: float = 5e-4
    weight_decay: float = 0.2
    warmup: int = 4_000
    clip: float = 3.0

    departures: ClassVar[dict[str, str]] = {
        "attention": "a ViT has no attention pooling to remove: 'value' reads it as MaskCLIP does, 'plain' takes all tokens",
        "pretrained": "the paper names CLIP ViT-B/16 and no weights; OpenAI's are read",
        "templates": "not given for this baseline; ViL-Seg's single prompt",
        "test_size": "not given; whole image, short side 448, as for ViL-Seg here",
        "prompt_denoising": "MaskCLIP's, off as in its released configurations; a class is set back, not erased, so that"
        " the order of names is kept where all are",
        "key_smoothing": "MaskCLIP's, off as in its released configurations; keys are made unit over channels, where the"
        " official code takes the token axis ('token-official' repeats that)",
        "synonym_rule": "with 'max', the best cosine of a class's words is taken on the grid; SCLIP takes the best"
        " probability after upsampling",
        "steps": "only with pretrained = captions; batch, lr and warm-up are ViL-Seg's, so that both see the captions alike",
    }
    quick: ClassVar[dict[str, object]] = {"steps": 6, "batch": 16, "warmup": 2}
    drawn: ClassVar[dict[str, Departure]] = {
        "encoder": Departure(SMALL_VIT, "drawn scenes are 64 pixels wide and train on two CPU cores"),
        "pretrained": Departure(
            CAPTIONS, "no published weights know the drawn classes: CLIP's loss on the drawn captions"
        ),
        "test_size": Departure(64, "the size of a drawn scene"),
        "view_size": Departure(64, "the size of a drawn scene"),
        "batch": Departure(64, "2,500 scenes, two CPU cores"),
        "steps": Departure(300, "minutes on two CPU cores; as many as ViL-Seg"),
        "lr": Departure(2e-3, "small encoder, short schedule"),
        "weight_decay": Departure(0.04, "small encoder, short schedule"),
        "warmup": Departure(30, "short schedule"),
    }

    def __post_init__(self) -> None:
        refuse_below(self, MAY_BE_ZERO)
        refuse_absent(self.encoder, self.pretrained)
        refuse_folder(self.encoder, self.pretrained)
        for name in ("prompt_denoising", "key_smoothing", "background_threshold"):
            if getattr(self, name) > 1:
                raise UserError(
                    f"{name} = {getattr(self, name)}: a probability was expected, at most 1 (0 leaves it out)"
                )
        if self.window_step > self.window:
            raise UserError(
                f"window_step = {self.window_step} is above window = {self.window}: pixels would be left out"
            )
        if self.pretrained == CAPTIONS and self.batch < 2:
            raise UserError(f"batch = {self.batch} leaves no other caption to contrast an image with: 2 are the least")
        wording.templates(self.templates, self.prompt)
        wording.words(self.synonyms)

    @property
    def supervision(self) -> Supervision:
        backbone, corpus = start_of(self.encoder, self.pretrained)
        return Supervision(
            captions=self.pretrained == CAPTIONS,
            backbone=backbone,
            backbone_corpus=corpus,
            unseen_names="evaluation",
            tuned_on=TUNED,
        )

    def fit(self, data: TrainView, job: Job) -> ClipSegmenter:
        towers = clip_for(self.encoder, self.pretrained, self.recipe(), data.captions, job, self.rule)
        return ClipSegmenter(self, towers, job)

    @property
    def rule(self) -> Attention:
        return attention_of(self.attention, self.residual, self.ffn, self.gauss_std)

    def recipe(self) -> ClipRecipe:
        return ClipRecipe(self.view_size, self.steps, self.batch, self.lr, self.weight_decay, self.warmup, self.clip)


TUNED = (
    "nothing here; on drawn scenes, steps and batch were sized for time on two CPU cores. Attention rules, templates and"
    " synonyms of the literature were chosen on the very benchmarks they are scored on"
)
MAY_BE_ZERO = (
    "prompt_denoising", "key_smoothing", "background_threshold", "scale", "window", "window_step", "weight_decay", "warmup",
)  # fmt: skip
BACKGROUND = "background"


class ClipSegmenter:
    """Cosines of every patch with every name; probabilities of the names where background is a threshold on them."""

    def __init__(self, method: ClipSeg, towers: Towers, job: Job):
        towers.model.to(job.device).eval()
        self.method, self.towers, self.job = method, towers, job
        require_rule(towers.model.visual, method.rule, method.encoder, keys=method.key_smoothing > 0)
        self.encoder = Encoder(towers, job, method.test_size, method.rule)
        said = wording.Wording(
            wording.templates(method.templates, method.prompt), wording.words(method.synonyms), method.synonym_rule
        )
        self.speaker = wording.Speaker(towers, said, job)

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Tensor:
        asked = [name for name in names if not self._by_threshold(name)]
        if names and not asked:  # nothing but background is looked for
            return images_BCHW.new_ones(len(images_BCHW), 1, 1, 1)
        images = self.encoder.resized(images_BCHW)
        score = lambda x: self.cosines(x, asked)  # noqa: E731
        cosines = self._slid(images, score) if self.method.window else score(images)
        if self.method.prompt_denoising:
            cosines = denoised(cosines, self.scale, self.method.prompt_denoising)
        if len(asked) == len(names):
            return cosines
        return self._with_background(cosines, list(names).index(BACKGROUND))

    def cosines(self, images_BCHW: Tensor, names: Sequence[str]) -> Tensor:
        """(B, N, h, w) in fp32: the best of each name's queries at every patch."""
        text_QD = self.speaker.queries(names)
        smooths = self.method.key_smoothing > 0
        found = self.encoder.dense(images_BCHW, keys=smooths) if smooths else None
        patches = found.patches_BDhw if found else self.encoder(images_BCHW)
        cosines_BQhw = torch.einsum("bdhw,qd->bqhw", F.normalize(patches.float(), dim=1), text_QD)
        cosines = self.speaker.best(cosines_BQhw, names)
        if found is None:
            return cosines
        assert found.keys_BChw is not None
        return smoothed(cosines, found.keys_BChw, self.scale, self.method.key_smoothing, self.method.key_axis)

    @property
    def scale(self) -> float:
        """Inverse temperature of probabilities: the model's own, where none is set."""
        return self.method.scale or float(self.towers.model.logit_scale.detach().exp())

    def _slid(self, images: Tensor, score: Any) -> Tensor:
        step = self.method.window_step or max(1, self.method.window // 2)
        return slide(images, self.method.window, step, self.towers.stride, score)

    def _by_threshold(self, name: str) -> bool:
        return self.method.background_threshold > 0 and name == BACKGROUND

    def _with_background(self, cosines: Tensor, place: int) -> Tensor:
        """Probabilities of the names, and the threshold as background's own: it wins where no name reaches it."""
        probabilities = (self.scale * cosines).softmax(1)
        threshold = torch.full_like(probabilities[:, :1], self.method.background_threshold)
        return torch.cat([probabilities[:, :place], threshold, probabilities[:, place:]], 1)

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        """Wording, size, and what stands for background, for the record. Parameters at inference: the image tower."""
        asked = [name for name in names if not self._by_threshold(name)]
        model = self.towers.model
        count = sum(p.numel() for p in model.parameters())
        threshold = self.method.background_threshold
        return {
            "prompts": self.speaker.wording.told(asked),
            "background": f"a probability below {threshold}" if len(asked) < len(names) else None,
            "parameters": {
                "trainable": count if self.method.pretrained == CAPTIONS else 0,
                "total": count,
                "at_inference": sum(p.numel() for p in model.visual.parameters()),
            },
        }
