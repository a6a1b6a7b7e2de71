"""Encoders → hidden layers → logits, and the module that is exported: the same with temperature and softmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from training import config

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}
)


class Mlp(nn.Sequential):
    """Linear, activation, dropout for each hidden width, then one Linear to the K logits.

    Shape:
        - Input: float32 [N, width]
        - Output: float32 [N, K], the logits
    """

    def __init__(self, width: int, classes: int, settings: config.Model) -> None:
        layers: list[nn.Module] = []
        for hidden in settings.hidden:
            layers += [nn.Linear(width, hidden), ACTIVATIONS[settings.activation]()]
            if settings.dropout:
                layers.append(nn.Dropout(settings.dropout))
            width = hidden
        super().__init__(*layers, nn.Linear(width, classes))
        if settings.initialization == "he":
            self.apply(_he)


@dataclass(frozen=True, slots=True)
class Placed:
    """An encoder and the inputs that it takes, by their places in the schema."""

    encoder: nn.Module
    places: tuple[int, ...]


class Classifier(nn.Module):
    """The encoders, their features side by side, and the perceptron.

    Shape:
        - Inputs: one tensor an input in the schema's order, rows first
        - Output: float32 [N, K], the logits
    """

    def __init__(self, placed: Sequence[Placed], mlp: nn.Module) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(each.encoder for each in placed)
        self.places = [each.places for each in placed]
        self.mlp = mlp

    def forward(self, *columns: Tensor) -> Tensor:
        features = [
            encoder(*(columns[place] for place in places))
            for encoder, places in zip(self.encoders, self.places, strict=True)
        ]
        logits: Tensor = self.mlp(torch.cat(features, dim=1) if len(features) > 1 else features[0])
        return logits


class Calibrated(nn.Module):
    """What is exported: raw columns → logits and probabilities = softmax(logits / temperature) (Guo et al. 2017).

    `torch.softmax` and ONNX's Softmax both subtract the row's true maximum first, so logits of ±1e4 stay finite.
    """

    temperature: Tensor

    def __init__(self, classifier: Classifier, temperature: float) -> None:
        super().__init__()
        self.classifier = classifier
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float32))

    def forward(self, *columns: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.classifier(*columns)
        return logits, torch.softmax(logits / self.temperature, dim=1)


def _he(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)
