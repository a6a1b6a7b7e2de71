"""Encoders → hidden layers → logits, and the module that is exported: the same with temperature and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from training import config
from training.features.encoders import Placed
from training.features.text.bags import Bags
from training.features.text.encoder import TextEncoder
from training.heads.head import Head
from training.mixture import Mixture
from training.slope import Slope

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}
)
_UNIFORM_DEVIATION = 0.8
_SMALLEST_SHARE = 1e-6


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
        if settings.initialization != "torch":
            self.apply(_he if settings.initialization == "he" else _uniform)

    def start_at(self, shares: Tensor) -> None:
        """Let the last biases be the logarithms of the classes' shares, float32 [K]: the answer before any evidence."""
        last = self[-1]
        assert isinstance(last, nn.Linear)  # noqa: S101  # as built above
        with torch.no_grad():
            last.bias.copy_(shares.clamp(min=_SMALLEST_SHARE).log())


class Trunk(nn.Sequential):
    """The hidden layers below a last layer that stands apart, the last of them with tanh.

    Behind values that cannot be negative, most of very many classes can never win, whatever the input; see
    docs/many_classes.md.

    Shape:
        - Input: float32 [N, width]
        - Output: float32 [N, H], each within -1 to 1
    """

    def __init__(self, width: int, settings: config.Model) -> None:
        layers: list[nn.Module] = []
        for place, hidden in enumerate(settings.hidden, start=1):
            is_last = place == len(settings.hidden)
            layers += [nn.Linear(width, hidden), nn.Tanh() if is_last else ACTIVATIONS[settings.activation]()]
            if settings.dropout:
                layers.append(nn.Dropout(settings.dropout))
            width = hidden
        super().__init__(*layers)
        if settings.initialization != "torch":
            self.apply(_he if settings.initialization == "he" else _uniform)


class Shortcut(nn.Module):
    """A perceptron and, beside it, a linear map straight from the features.

    Shape:
        - Input: float32 [N, width]
        - Output: float32 [N, K]
    """

    def __init__(self, mlp: Mlp, width: int, classes: int) -> None:
        super().__init__()
        self.mlp = mlp
        self.linear = nn.Linear(width, classes, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.mlp(features) + self.linear(features)
        return logits


class Members(nn.Module):
    """Perceptrons side by side over the same features; their answer is the mean of their probabilities.

    While training, the rows come in as many equal parts as there are members, and each member sees its own part:
    trained on the same rows in the same order they would agree too much for their mean to gain anything.

    Shape:
        - Input: float32 [N, width]
        - Output: float32 [N, K]; in evaluation the logarithm of the mean probability
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            parts = features.chunk(len(self.members))
            return torch.cat([member(part) for member, part in zip(self.members, parts, strict=True)])
        logits = torch.stack([torch.log_softmax(member(features), dim=1) for member in self.members])
        return torch.logsumexp(logits, dim=0) - math.log(len(self.members))


def perceptron(width: int, shares: Tensor, settings: config.Model) -> nn.Module:
    """What stands between features and logits: one perceptron, or several.

    Args:
        width: of the features.
        shares: float32 [K], how frequent each class is in the training split.
        settings: the `[model]` section.
    """
    members = [_member(width, shares, settings) for _ in range(settings.members)]
    return members[0] if len(members) == 1 else Members(members)


def _member(width: int, shares: Tensor, settings: config.Model) -> nn.Module:
    mlp = Mlp(width, len(shares), settings)
    if settings.initialization == "prior":
        mlp.start_at(shares)
    return Shortcut(mlp, width, len(shares)) if settings.shortcut else mlp


class Classifier(nn.Module):
    """The encoders, their features side by side, and the perceptron; where texts are read, a linear model beside it.

    Args:
        placed: the encoders.
        mlp: features → logits, or, with `head`, features → hidden values.
        mixture: weighs the linear model of the texts against the perceptron.
        head: the last layer of many classes, which then stands apart.

    Shape:
        - Inputs: one tensor an input in the schema's order, rows first; while training, `Bags` for a text
        - Output: float32 [N, K], the logits
    """

    def __init__(
        self,
        placed: Sequence[Placed],
        mlp: nn.Module,
        mixture: Mixture | None = None,
        head: Head | None = None,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(each.encoder for each in placed)
        self.places = [each.places for each in placed]
        self.mlp = mlp
        self.mixture = mixture
        self.head = head

    @property
    def placed(self) -> list[Placed]:
        """The encoders, each with the places of its inputs."""
        return [Placed(encoder, places) for encoder, places in zip(self.encoders, self.places, strict=True)]

    def forward(self, *columns: Tensor | Bags) -> Tensor:
        if self.head is not None:
            answers: Tensor = self.head(self.hidden(*columns))
            return answers
        deep, *wide = self.parts(*columns)
        logits: Tensor = deep if self.mixture is None else self.mixture(deep, *wide)
        return logits

    def parts(self, *columns: Tensor | Bags) -> list[Tensor]:
        """The perceptron's logits and, where texts are read, the linear model's: each has a loss of its own."""
        features, logits = self._encode(*columns)
        deep = self.mlp(features)
        return [deep] if self.mixture is None else [deep, sum(logits, self.mixture.bias)]

    def hidden(self, *columns: Tensor | Bags) -> Tensor:
        """What enters a last layer that stands apart: float32 [N, H]."""
        found: Tensor = self.mlp(self.features(*columns))
        return found

    def features(self, *columns: Tensor | Bags) -> Tensor:
        """What enters the perceptron: float32 [N, width]."""
        return self._encode(*columns)[0]

    def _encode(self, *columns: Tensor | Bags) -> tuple[Tensor, list[Tensor]]:
        """The features of all encoders side by side, and the logits that texts have by themselves."""
        features, logits = [], []
        for encoder, places in zip(self.encoders, self.places, strict=True):
            found = encoder(*(columns[place] for place in places))
            if isinstance(encoder, TextEncoder):
                found, own = found
                logits.append(own)
            features.append(found)
        return torch.cat(features, dim=1) if len(features) > 1 else features[0], logits


class Calibrated(nn.Module):
    """What is exported: raw columns → logits and probabilities = softmax(logits / temperature) (Guo et al. 2017).

    Where a slope was fitted, the logits are the classifier's times each row's factor.
    `torch.softmax` and ONNX's Softmax both subtract the row's true maximum first, so logits of ±1e4 stay finite.
    """

    temperature: Tensor

    def __init__(self, classifier: Classifier, temperature: float, slope: Slope | None = None) -> None:
        super().__init__()
        self.classifier = classifier
        self.slope = slope
        for encoder in classifier.encoders:
            if isinstance(encoder, TextEncoder):
                encoder.join_tables()
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float32))

    def forward(self, *columns: Tensor) -> tuple[Tensor, ...]:
        logits = self.classifier(*columns)
        if self.slope is not None:
            logits = self.slope(logits)
        return logits, torch.softmax(logits / self.temperature, dim=1)


def _uniform(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        fan_in = module.in_features
        bound = _UNIFORM_DEVIATION * math.sqrt(3.0 / fan_in)  # a uniform's deviation is its bound / sqrt(3)
        nn.init.uniform_(module.weight, -bound, bound)
        nn.init.uniform_(module.bias, -1.0 / math.sqrt(fan_in), 1.0 / math.sqrt(fan_in))


def _he(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)
