"""A logit z → z + log σ(z), whose softmax is proportional to exp(z) · σ(z)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Sigsoftmax(nn.Module):
    """Kanai, Fujiwara, Yamanaka & Adachi 2018, "Sigsoftmax: reanalysis of the softmax bottleneck"; no parameters.

    Shape: float of any shape → the same shape.
    """

    def forward(self, logits: Tensor) -> Tensor:
        # torch's logsigmoid is exported as log(σ(z)), which is -∞ below -104 and makes NaN of it.
        return logits - functional.softplus(-logits)
