"""Recursive training with ZS-MMD: confident pixels of unseen classes become weighted pseudo-features for the generator.

Wang, Farazi and Barnes, IJCNN 2021. Only the abstract could be had; it says that confident outputs of the pixel classifier
are weighted pseudo-features and return to the generator through the ZS-MMD loss. All else here is inferred; the
method's fields are options of it. Inferred and fixed: the optimiser starts anew in every round, the pull of
`joint` is not weighted, and what `choosing.py` says of itself.
A round: (1) the classifier so far labels a pool of training images, and pixels that it is sure are unseen are chosen;
(2) generator and classifier train on, the generator now also towards the chosen features of each class (weighted MMD).
Legend: K kept in the bank, U unseen names, M samples, D feature width, h w feature grid.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from zsbench.nn.choosing import Chosen
from zsbench.nn.deeplab import SegmentationNet
from zsbench.nn.mmd import mmd
from zsbench.nn.synthesis import Synthesis, at_grid, classified, draw_per_class


class Recursion(Synthesis):
    """One round: everything that stage 2 trains, and the ZS-MMD loss towards the chosen features.

    first: the learner of round 0, whose generator goes on to speak for starved classes. before: the round before.
    zs_weight: of the ZS-MMD loss (λ). joint: the encoder's last block learns too, pulled by the generated features.
    """

    starved_N: Tensor
    bank_KD: Tensor
    names_K: Tensor
    weights_K: Tensor
    last: nn.Module

    def __init__(
        self, first: Synthesis, before: Synthesis, chosen: Chosen, zs_weight: float, *, fresh: bool, joint: bool
    ):
        super().__init__(before.frozen, deepcopy(before.generator), before.vectors_NA.cpu(), before.seen, before.mix)
        if not fresh:
            self.classify.load_state_dict(before.classify.state_dict())
        self.zs_weight, self.joint = zs_weight, joint
        self._first = (first.generator,)  # in a tuple: neither trained nor saved
        if joint:
            self.last = deepcopy(
                before.last if isinstance(before, Recursion) and before.joint else before.frozen.encoder.last
            )
            self.last.requires_grad_(True)
        starved_N = torch.cat([torch.zeros(self.seen, dtype=torch.bool), chosen.starved_U.bool()])
        for name, value in {"starved_N": starved_N, "bank_KD": chosen.bank_KD, "names_K": chosen.names_K,
                            "weights_K": chosen.weights_K}.items():  # fmt: skip
            self.register_buffer(name, value, persistent=False)

    def train(self, mode: bool = True) -> Recursion:
        """The last block keeps its statistics and drops nothing out, like the network below it."""
        super().train(mode)
        if self.joint:
            self.last.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        out = super().forward(batch)
        zs = self.zs_loss()
        out |= {"loss": out["loss"] + self.zs_weight * zs, "zs_mmd": zs}
        if self.joint:
            pull = self.pull(batch["pool"], batch["pool_names"])
            out |= {"loss": out["loss"] + self.zs_weight * pull, "pull": pull}
        return out

    def zs_loss(self) -> Tensor:
        """Mean weighted MMD between generated and chosen features of the classes that have some."""
        classes_C, chosen_CM = draw_per_class(self.names_K, len(self.vectors_NA) - self.seen, self.mix.samples)
        return self.distance(classes_C + self.seen, self.bank_KD[chosen_CM], self.weights_K[chosen_CM])

    def generate(self, names_Q: Tensor) -> Tensor:
        """Generated features (Q, D); of starved classes by the generator of round 0."""
        features = super().generate(names_Q)
        if not bool(self.starved_N.any()):
            return features
        first = self._first[0].train(self.training)  # with dropout in training, as the generator of this round
        return torch.where(self.starved_N[names_Q][:, None], first(self.vectors_NA[names_Q]).float(), features)

    def features(self, images_BCHW: Tensor) -> Tensor:
        if not self.joint:
            return super().features(images_BCHW)
        with torch.no_grad():
            moved: Tensor = self.last(self.frozen.encoder.before_last(images_BCHW))
        return moved.float()

    def pull(self, images_BCHW: Tensor, names_Bhw: Tensor) -> Tensor:
        """MMD of chosen pool pixels to generated features, whose gradient reaches the encoder's last block alone."""
        with torch.no_grad():
            below = self.frozen.encoder.before_last(images_BCHW)
        features = self.last(below).float()
        names_P = at_grid(names_Bhw, features.shape[-2:]).flatten()
        classes_C, places_CM = draw_per_class(names_P, len(self.vectors_NA) - self.seen, self.mix.samples)
        if not len(classes_C):
            return features.sum() * 0.0
        moving_CMD = features.permute(0, 2, 3, 1).flatten(0, 2)[places_CM]
        with torch.no_grad():
            goal = self.generate((classes_C + self.seen)[:, None].expand(-1, moving_CMD.shape[1]).flatten())
        return mmd(moving_CMD, goal.view_as(moving_CMD)).mean()

    def network(self) -> SegmentationNet:
        encoder = self.frozen.encoder
        if self.joint:
            encoder = deepcopy(encoder)
            encoder.last = deepcopy(self.last).requires_grad_(False)
        return classified(encoder, self.classify)
