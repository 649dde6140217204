"""K-means variants: offline clusters in place of ViL-Seg's head, pooled and named.

The ablation of Liu et al. (ViL-Seg, ECCV 2022, section 4.3 and Table 2): "offline K-means" clusters the per-pixel
embeddings, and every region is pooled and named as in ViL-Seg. The paper gives no more than that; its speed per image
makes a clustering of every image by itself the likelier reading (mode = per-image). The encoder is a trained ViL-Seg's
without the head (features = vilseg), or CLIP's under an attention rule (features = clip).
docs/methods/kmeans.md has the modes, the options and what to expect.
Legend: B images, D joint width, k clusters, n = h·w tokens of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zsbench.methods.vilseg import MAY_BE_ZERO, VilSeg, VilSegSegmenter

from zsbench.config import refuse_below
from zsbench.data.view import TrainView
from zsbench.errors import UserError
from zsbench.method import Departure, Job, Regions
from zsbench.nn.attention import Attention, Rule
from zsbench.nn.captioned_clip import CAPTIONS, ClipRecipe, clip_for, refuse_folder
from zsbench.nn.clip import SMALL, SMALL_VIT, Towers
from zsbench.nn.clustering import name_regions, pool_regions, segment
from zsbench.nn.corpora import LOCAL_DIR
from zsbench.nn.dataset_kmeans import Sampled, fitted_centres
from zsbench.nn.encoder import Encoder, Switch, attention_of
from zsbench.nn.kmeans import kmeans, squared_distances, uniforms
from zsbench.supervision import Supervision

OPEN = "the paper says 'offline K-means' and no more"


@dataclass(frozen=True)
class KMeans(VilSeg):
    """ViL-Seg's fields, which train the encoder (or CLIP), and those of the clustering."""

    features: Literal["vilseg", "clip"] = "vilseg"
    k: int = 20
    mode: Literal["per-image", "dataset", "minibatch"] = "per-image"
    distance: Literal["spherical", "euclidean"] = "spherical"
    position: float = 0.0
    restarts: int = 5
    lloyd_steps: int = 20
    sample_images: int = 2_000
    sample_tokens: int = 200
    attention: Rule = "value"
    residual: Switch = "published"
    ffn: Switch = "published"
    gauss_std: float = 5.0

    departures: ClassVar[dict[str, str]] = VilSeg.departures | {
        "k": f"{OPEN}; as many as the head's clusters",
        "mode": f"{OPEN}; per-image is likelier, as it is offline, after the encoder, and timed per case",
        "distance": f"{OPEN}; spherical, since names are compared by cosine",
        "position": f"{OPEN}; a token's place is left out",
        "restarts": f"{OPEN}; the best of five by inertia (in mode minibatch, of the first batch, from which the others go on)",
        "lloyd_steps": f"{OPEN}; nearly every image has settled by then",
        "sample_images": f"{OPEN}; only in the modes dataset and minibatch",
        "sample_tokens": f"{OPEN}; only in the modes dataset and minibatch; scikit-learn's centres are the means of unit "
        "tokens and made unit after it, where distance = spherical",
        "attention": "not the paper's; only with features = clip, as for clip-seg here",
    }
    drawn: ClassVar[dict[str, Departure]] = VilSeg.drawn | {
        "sample_images": Departure(500, "a quarter of the scenes' training images"),
    }

    def __post_init__(self) -> None:
        _ = self.vilseg  # refuses what ViL-Seg refuses
        refuse_below(self, (*MAY_BE_ZERO, "position"))
        if self.self_training:
            raise UserError(f"self_training = {self.self_training}: it needs ViL-Seg's head; --method vilseg has it")
        if self.features == "vilseg" and self.pretrained == CAPTIONS:
            raise UserError("pretrained = captions trains a CLIP: --set features=clip, or leave pretrained out")
        if self.features == "clip":
            self._refuse_clip()

    def _refuse_clip(self) -> None:
        refuse_folder(self.encoder, self.pretrained)
        if not self.pretrained and not self.encoder.startswith(LOCAL_DIR):
            raise UserError(
                "features = clip with random weights has nothing to cluster: --set pretrained=FILE (or a tag), or "
                f"--set pretrained={CAPTIONS} to train CLIP on the run's captions"
            )
        if self.encoder == SMALL:
            raise UserError(
                f"encoder = {SMALL} is no CLIP that open_clip can save or attention rules can change: "
                f"--set encoder={SMALL_VIT}"
            )

    @property
    def supervision(self) -> Supervision:
        looks: Literal["none", "train"] = "none" if self.mode == "per-image" else "train"
        own = replace(super().supervision, unlabelled=looks)
        if self.features == "vilseg":
            return own
        return replace(own, captions=self.pretrained == CAPTIONS)

    @property
    def vilseg(self) -> VilSeg:
        """The ViL-Seg whose encoder this is: equal fields, equal training, shared with `--method vilseg`."""
        return VilSeg(**{field.name: getattr(self, field.name) for field in fields(VilSeg)})

    @property
    def spherical(self) -> bool:
        return self.distance == "spherical"

    def fit(self, data: TrainView, job: Job) -> KMeansSegmenter:
        net = self.vilseg.trained(data, job) if self.features == "vilseg" else self.clip_net(data, job)
        segmenter = KMeansSegmenter(self, net.eval(), job)
        if self.mode != "per-image":
            assert data.unlabelled is not None  # declared, so the guard handed it out
            minibatch = self.mode == "minibatch"
            sampled = Sampled(
                self.k, self.sample_images, self.sample_tokens, self.restarts, self.lloyd_steps, minibatch
            )
            path = job.folder / "centres.safetensors"
            segmenter.centres_kD = fitted_centres(path, data.unlabelled, segmenter.tokens_of, sampled, job)
        return segmenter

    def clip_net(self, data: TrainView, job: Job) -> ClipNet:
        recipe = ClipRecipe(self.view_size, self.steps, self.batch, self.lr, self.weight_decay, self.warmup, self.clip)
        towers = clip_for(self.encoder, self.pretrained, recipe, data.captions, job, self.rule)
        return ClipNet(towers, self.pretrained == CAPTIONS).to(job.device)

    @property
    def rule(self) -> Attention:
        """ViL-Seg's features come from the tower as it was trained; a rule is CLIP's affair."""
        if self.features == "vilseg":
            return Attention()
        return attention_of(self.attention, self.residual, self.ffn, self.gauss_std)


class ClipNet(nn.Module):
    """CLIP where a segmenter looks for ViL-Seg's network: the same towers, no head."""

    def __init__(self, towers: Towers, trained: bool):
        super().__init__()
        self.towers = towers
        self.clip = towers.model.requires_grad_(trained)
        self.clusters = nn.Identity()


class KMeansSegmenter(VilSegSegmenter):
    """Cluster by k-means, pool, name. centres: of all images, or None where every image has its own."""

    method: KMeans

    def __init__(self, method: KMeans, net: Any, job: Job):
        super().__init__(method, net, job)
        self.encoder = Encoder(net.towers, job, method.test_size, method.rule)
        self.centres_kD: Tensor | None = None

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Regions:
        size = images_BCHW.shape[-2:]
        e_pxl = self.encoder(self.encoder.resized(images_BCHW))
        logits_Bkhw = self.logits(e_pxl, images_BCHW)
        regions_BkD, _ = pool_regions(e_pxl, logits_Bkhw.argmax(1), logits_Bkhw.shape[1])
        return Regions(segment(logits_Bkhw, (size[0], size[1])), name_regions(regions_BkD, self.text(names)))

    def logits(self, e_pxl: Tensor, images_BCHW: Tensor) -> Tensor:
        """(B, k, h, w): minus the squared distance of every token to every centre. images: what the seeds follow from."""
        method, tokens_BnD = self.method, self.placed(e_pxl)
        if self.centres_kD is not None:
            centres = self.centres_kD[None]
        else:
            u_BRk = uniforms(images_BCHW, self.job.seed, method.restarts, method.k)
            found = kmeans(tokens_BnD, method.k, u_BRk, spherical=method.spherical, steps=method.lloyd_steps)
            centres = found.centres_BkD
        distances_Bnk = squared_distances(tokens_BnD, centres, method.spherical)
        return -distances_Bnk.mT.unflatten(2, e_pxl.shape[-2:])

    def placed(self, e_pxl: Tensor) -> Tensor:
        """(B, n, D): tokens in fp32, unit where the clustering is spherical; with position, two more features: x and y from
        the middle, in long sides of the image, times `position`."""
        tokens_BnD = e_pxl.float().flatten(2).mT
        if self.method.spherical:
            tokens_BnD = F.normalize(tokens_BnD, dim=-1)
        if not self.method.position:
            return tokens_BnD
        grid = e_pxl.shape[-2:]
        sides = [(torch.arange(side, device=e_pxl.device) + 0.5 - side / 2) / max(grid) for side in grid]
        place_n2 = self.method.position * torch.cartesian_prod(*sides)
        return torch.cat([tokens_BnD, place_n2.expand(len(tokens_BnD), -1, -1)], -1)

    def tokens_of(self, images_BCHW: Tensor) -> Tensor:
        """(B n, D): what the centres of a data set are fitted to."""
        with torch.no_grad():
            return self.placed(self.encoder(self.encoder.resized(images_BCHW))).flatten(0, 1)

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        """As of ViL-Seg, but that nothing of the head is left at inference: Table 2's 86.19 M against 86.27 M."""
        told = super().describe(names)
        told["parameters"]["at_inference"] = sum(p.numel() for p in self.net.clip.visual.parameters())
        return told
