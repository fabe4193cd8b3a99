"""Parts of a second stage on frozen features."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ScaledClassifier(nn.Module):
    """A trained classifier with one learnable factor on the logit of each class, starting at 1.

    Learnable weight scaling (LWS, Kang et al. 2020, arXiv:1910.09217, sec. 4): ``f_c * g_c(x)``
    with the classifier g frozen, in eval mode also during training. The factor stands, as in the
    authors' code, before the whole logit; the paper's equation has it before the weights, without
    the bias. With ``frozen=False`` classifier and factors learn together, as MiSLAS does
    (Zhong et al. 2021, arXiv:2104.00466).
    """

    def __init__(self, classifier: nn.Module, num_classes: int, *, frozen: bool = True) -> None:
        super().__init__()
        self.frozen = frozen
        self.classifier = classifier.requires_grad_(not frozen)
        like = next(classifier.parameters())
        self.scale = nn.Parameter(torch.ones(num_classes, dtype=like.dtype, device=like.device))
        self.train(self.training)

    def forward(self, features: Tensor) -> Tensor:
        """Scaled logits (N, C) of features (N, F)."""
        logits: Tensor = self.classifier(features)
        return logits * self.scale

    def train(self, mode: bool = True) -> ScaledClassifier:
        """Set the mode; a frozen classifier stays in eval mode (no dropout)."""
        super().train(mode)
        if self.frozen:
            self.classifier.eval()
        return self
