"""The generator of ZS3Net: class vector and noise in, a pixel's feature out.

Bucher et al., NeurIPS 2019, as in the authors' code: Linear - LeakyReLU 0.2 - Dropout 0.5 - Linear, Xavier-uniform weights,
biases 0.01, no activation on the output although features are not negative; hidden = 0 is one linear layer. The noise is
as wide as the vector, uniform on [0, 1) in the code; the paper is remembered to speak of a Gaussian ("normal").
Legend: P pixels, A width of class vectors, D width of features.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Noise = Literal["uniform", "normal"]


class PixelGenerator(nn.Module):
    """Features of pixels that know nothing of each other."""

    def __init__(self, vector_width: int, feature_width: int, hidden: int = 256, noise: Noise = "uniform"):
        super().__init__()
        self.noise = noise
        inputs = 2 * vector_width
        layers = (
            [nn.Linear(inputs, hidden), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(hidden, feature_width)]
            if hidden
            else [nn.Linear(inputs, feature_width)]
        )
        self.layers = nn.Sequential(*layers)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.constant_(layer.bias, 0.01)

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., A) class vectors -> (..., D) features, each with noise of its own."""
        noise = torch.rand_like(vectors) if self.noise == "uniform" else torch.randn_like(vectors)
        features: Tensor = self.layers(torch.cat([vectors, noise], -1))
        return features
