"""Stage 2 with graph context: features are generated for patches of a label map that see the patches around them.

ZS3Net's variant for PASCAL Context (Bucher et al., NeurIPS 2019, "GC"): nodes are the connected patches of a label map,
the generator moves towards the real patches' features under one MMD over all of them, and the classifier also learns
from the patches themselves, with a weight of 0.1. Departures: one MMD over the patches of a batch where the
code takes one per image; images of a single patch are not skipped. A generated map gives every place of a patch the
patch's one feature.
Legend: see `synthesis.py`; N here counts patches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zsbench.data.dataset import IGNORED
from zsbench.nn.graph import Patches, patches, pool_nodes
from zsbench.nn.mmd import mmd
from zsbench.nn.synthesis import Synthesis, at_grid

PATCH_WEIGHT = 0.1  # of the patches in the classifier's loss


class GraphSynthesis(Synthesis):
    """Generator of patches and classifier of pixels in training."""

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        features_BDhw = self.features(batch["images"])
        labels_Bhw = at_grid(batch["labels"], features_BDhw.shape[-2:])
        known = labels_Bhw < self.seen
        real = patches(labels_Bhw.masked_fill(~known, IGNORED))
        own = self.patch_distance(real, pool_nodes(features_BDhw, real))
        made = patches(batch["layout"])
        with torch.no_grad():
            nodes_ND = self.patch_features(made)
        places = made.map_Bhw[made.map_Bhw >= 0]
        pixels = torch.cat([features_BDhw.movedim(1, -1)[known], nodes_ND[places]])
        ce = self.classifier_loss(pixels, torch.cat([labels_Bhw[known], made.labels_N[places]]))
        near = self.classifier_loss(nodes_ND, made.labels_N)
        return {"loss": own + ce + PATCH_WEIGHT * near, "mmd": own, "cross_entropy": ce, "patches": near}

    def patch_features(self, found: Patches) -> Tensor:
        """One generated feature of every patch, (N, D)."""
        features: Tensor = self.generator(self.vectors_NA[found.labels_N], found.edges_2E)
        return features.float()

    def patch_distance(self, found: Patches, real_ND: Tensor) -> Tensor:
        """MMD between generated and real patches; 0 without any."""
        if not len(found):
            return self.nothing()
        return mmd(self.patch_features(found), real_ND)
