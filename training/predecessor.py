"""A published version → the first weights of a new run: its encoders and hidden layers, and the labels it knew.

What takes over is decided by names: columns by theirs, labels by theirs (after Unicode NFC). Everything comes from the
served files, `manifest.json` and the initializers of `model.onnx`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn, optim

from clipmax import manifest as manifest_module
from clipmax.manifest import MODEL_FILE, Manifest
from clipmax.origin import Origin
from clipmax.refusal import Refusal, shorten
from clipmax.repository import read_verified
from training import observation
from training.composite import CompositeOptimizer
from training.config import Run
from training.data.dataset import Dataset
from training.features import columns
from training.features.text.encoder import TextEncoder
from training.loop import Progress
from training.model import Classifier, Mlp, Shortcut
from training.weights import Weights

_TAKEN_OVER: Mapping[str, tuple[str, ...]] = {
    "model": ("hidden", "activation", "shortcut", "members"),
    "images": ("scaling",),
    "rows": ("bins", "column_width"),
    "texts": ("max_length", "min_texts", "max_rows", "width"),
}
"""What the weights were made for: section → fields that a run must share with the version it goes on from."""
_ROWS = 1024
_SMALLEST_NORM, _SMALLEST_SHARE = 1e-12, 1e-12
_SAMPLE_ROWS, _ROUNDS = 8192, 50


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A checked version of the models folder and the weights in its graph."""

    folder: Path
    manifest: Manifest
    weights: Weights

    def known(self, labels: Sequence[str]) -> dict[int, int]:
        """New class → its class in the version, for the labels that it has too."""
        theirs = {unicodedata.normalize("NFC", label): place for place, label in enumerate(self.manifest.labels)}
        ours = [unicodedata.normalize("NFC", label) for label in labels]
        return {place: theirs[label] for place, label in enumerate(ours) if label in theirs}

    def origin(self, labels: Sequence[str]) -> Origin:
        """What the new version's manifest says about it."""
        known = len(self.known(labels))
        return Origin(
            name=self.manifest.name,
            version=self.manifest.version,
            sha256=self.manifest.files[MODEL_FILE].sha256,
            known_labels=known,
            new_labels=len(labels) - known,
        )


def read(folder: Path) -> Predecessor:
    """A published version, its manifest and graph checked by seal and SHA-256.

    Raises:
        Refusal: broken; or with another inside than `clipmax train` gives one, such as an imported graph.
    """
    folder = folder.resolve()
    manifest = manifest_module.load(folder)
    if manifest.training is None:
        raise Refusal(folder, "training", expected="a version that clipmax train wrote", found="an imported one")
    weights = Weights.read(read_verified(folder, manifest, MODEL_FILE), where=folder / MODEL_FILE)
    if not any(name.startswith("mlp.") for name in weights.tensors):
        expected = "a graph that clipmax train wrote"
        raise Refusal(folder / MODEL_FILE, "initializers", expected=expected, found="none of a perceptron")
    return Predecessor(folder, manifest, weights)


def fill(run: Run, predecessor: Predecessor) -> Run:
    """The run with the version's architecture wherever it sets none itself.

    Raises:
        Refusal: it sets another; or it freezes more layers than there are.
    """
    for section, fields in _TAKEN_OVER.items():
        before = _section(predecessor, section, type(getattr(run, section)))
        own = getattr(run, section)
        values = {field: getattr(before, field) for field in fields}
        for field in own.model_fields_set & values.keys():
            if getattr(own, field) != values[field]:
                expected = f"{shorten(values[field])} as {predecessor.manifest.name} has"
                found = shorten(getattr(own, field))
                raise Refusal(predecessor.folder, f"{section}.{field}", expected=expected, found=found)
        run = run.model_copy(update={section: own.model_copy(update=values)})
    if run.start.frozen_layers > len(run.model.hidden):
        expected = f"at most its {len(run.model.hidden)} hidden layers"
        raise Refusal(predecessor.folder, "start.frozen_layers", expected=expected, found=str(run.start.frozen_layers))
    return run


def _section(predecessor: Predecessor, name: str, kind: type[Any]) -> Any:
    """One section of the configuration that the version was trained with; what it does not name has its default."""
    assert predecessor.manifest.training is not None  # noqa: S101  # `read` refuses it
    written = predecessor.manifest.training.configuration.get(name)
    wanted = _TAKEN_OVER[name]
    values = {key: value for key, value in written.items() if key in wanted} if isinstance(written, Mapping) else {}
    return kind.model_validate(values)


def take_over(progress: Progress, run: Run, dataset: Dataset, predecessor: Predecessor) -> None:
    """Bring fresh weights to those of the version, new labels to their prototypes; freeze and slow the old layers.

    The encoders were restored already, because their shapes are the version's.

    Args:
        progress: whose weights and optimizer change.
        run: with the version's architecture.
        dataset: under the version's schema, texts prepared.
        predecessor: the version.

    Raises:
        Refusal: a weight that is not in the graph.
    """
    model, known = progress.model, predecessor.known(dataset.labels)
    for prefix, mlp in _perceptrons(model):
        _take_hidden(mlp, predecessor.weights.under(prefix))
    with torch.no_grad():
        for ours, theirs in _answers(model, predecessor.weights):
            _take_known(ours, theirs, known)
        _imprint(model, dataset, predecessor, known)
    _freeze(model, run.start.frozen_layers)
    progress.optimizer = slowed(progress.optimizer, _old(model), run.start.old_rate)


def _perceptrons(model: Classifier) -> Iterator[tuple[str, Mlp]]:
    """(name with a dot after it, perceptron) of each, whatever it stands in."""
    for name, module in model.named_modules():
        if isinstance(module, Mlp):
            yield f"{name}.", module


def _linears(mlp: Mlp) -> list[nn.Linear]:
    return [layer for layer in mlp if isinstance(layer, nn.Linear)]


def _places(weights: Weights) -> list[str]:
    """Names of a perceptron's linear layers in their order; dropout between them makes gaps in the numbers."""
    names = {name.partition(".")[0] for name in weights.tensors}
    return sorted((name for name in names if name.isdecimal()), key=int)


def _take_hidden(mlp: Mlp, weights: Weights) -> None:
    for layer, place in zip(_linears(mlp)[:-1], _places(weights), strict=False):
        weights.under(f"{place}.").fill(layer)


def _answers(model: Classifier, weights: Weights) -> Iterator[tuple[Tensor, Tensor]]:
    """(ours, theirs) of all weights that belong to single classes, as [K, …] each."""
    for prefix, mlp in _perceptrons(model):
        theirs = weights.under(prefix)
        last = theirs.under(f"{_places(theirs)[-1]}.")
        yield _linears(mlp)[-1].weight, last.take("weight")
        yield _linears(mlp)[-1].bias, last.take("bias")
    for name, module in model.named_modules():
        if isinstance(module, Shortcut):
            yield module.linear.weight.zero_(), weights.take(f"{name}.linear.weight")
    if model.mixture is not None:
        yield model.mixture.bias, weights.take("mixture.bias")
    for place, encoder in enumerate(model.encoders):
        if isinstance(encoder, TextEncoder):
            yield encoder.wide.T, weights.take(f"encoders.{place}.joined")[:, encoder.width :].T


def _take_known(ours: Tensor, theirs: Tensor, known: Mapping[int, int]) -> None:
    if known:
        ours[list(known)] = theirs[list(known.values())]


def _imprint(model: Classifier, dataset: Dataset, predecessor: Predecessor, known: Mapping[int, int]) -> None:
    """Give each new label the direction in which its training rows lie (Qi, Brown & Lowe 2018, "Low-shot learning
    with imprinted weights").

    A row of weights points from the mean of all hidden activations to the mean of the class's, as long as the
    version's own rows are on average. The bias is the one that maximum likelihood would give: the class's mean
    probability over the training rows is its share of them, so that it is neither drowned nor preferred.
    """
    new = [place for place in range(len(dataset.labels)) if place not in known]
    if not new:
        return
    means = _class_means(model, dataset)
    for prefix, mlp in _perceptrons(model):
        last, theirs = _linears(mlp)[-1], predecessor.weights.under(prefix)
        length = theirs.take(f"{_places(theirs)[-1]}.weight").norm(dim=1).mean()
        prototypes = means[prefix]
        directions = prototypes[new] - prototypes.mean(dim=0)
        last.weight[new] = length * directions / directions.norm(dim=1, keepdim=True).clamp(min=_SMALLEST_NORM)
        last.bias[new] = -(last.weight[new] * prototypes.mean(dim=0)).sum(dim=1)
    offsets = _balanced(_sample_logits(model, dataset), _shares(dataset), new)
    for _, mlp in _perceptrons(model):
        _linears(mlp)[-1].bias[new] += offsets


def _balanced(logits: Tensor, shares: Tensor, new: Sequence[int]) -> Tensor:
    """What must be added to the new classes' logits, float32 [new], for mean probabilities equal to their shares."""
    offsets = torch.zeros(len(new))
    for _ in range(_ROUNDS):
        shifted = logits.clone()
        shifted[:, new] += offsets
        offsets += (shares[new] / shifted.softmax(dim=1).mean(dim=0)[new].clamp(min=_SMALLEST_SHARE)).log()
    return offsets


def _sample_logits(model: Classifier, dataset: Dataset) -> Tensor:
    """float32 [rows, K]: the perceptron's, of at most 8,192 training rows evenly spaced."""
    rows = observation.evenly(len(dataset.train), _SAMPLE_ROWS)
    model.eval()
    chunks = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
    return torch.cat([model.parts(*columns.batch(dataset.inputs, dataset.train, chunk))[0] for chunk in chunks])


def _shares(dataset: Dataset) -> Tensor:
    counts = torch.bincount(torch.from_numpy(dataset.train.labels), minlength=len(dataset.labels))
    return counts / counts.sum()


def _class_means(model: Classifier, dataset: Dataset) -> dict[str, Tensor]:
    """Perceptron → float32 [K, width], each class's mean of what enters its last layer, over the training split."""
    sums: dict[str, Tensor] = {}
    labels = torch.from_numpy(dataset.train.labels)

    def watch(prefix: str, layer: nn.Linear) -> Any:
        sums[prefix] = torch.zeros(len(dataset.labels), layer.in_features)
        return layer.register_forward_pre_hook(
            lambda _module, inputs: sums[prefix].index_add_(0, labels[rows], inputs[0])  # the rows of the moment
        )

    hooks = [watch(prefix, _linears(mlp)[-1]) for prefix, mlp in _perceptrons(model)]
    model.eval()
    try:
        for start in range(0, len(labels), _ROWS):
            rows = slice(start, start + _ROWS)
            model(*columns.batch(dataset.inputs, dataset.train, rows))
    finally:
        for hook in hooks:
            hook.remove()
    counts = torch.bincount(labels, minlength=len(dataset.labels)).unsqueeze(1)
    return {prefix: total / counts for prefix, total in sums.items()}


def _freeze(model: Classifier, layers: int) -> None:
    """The first hidden layers, and all that stands before them. The linear model of texts belongs to the answers."""
    if not layers:
        return
    frozen = [*_features(model)]
    for _, mlp in _perceptrons(model):
        frozen += [weight for layer in _linears(mlp)[:layers] for weight in layer.parameters()]
    for weight in frozen:
        weight.requires_grad = False


def _features(model: Classifier) -> Iterator[nn.Parameter]:
    """The encoders' weights, but for the linear model of texts."""
    for encoder in model.encoders:
        wide = encoder.wide if isinstance(encoder, TextEncoder) else None
        yield from (weight for weight in encoder.parameters() if weight is not wide)


def _old(model: Classifier) -> set[nn.Parameter]:
    """What was taken over whole: encoders and hidden layers."""
    hidden = (layer for _, mlp in _perceptrons(model) for layer in _linears(mlp)[:-1])
    return {*_features(model), *(weight for layer in hidden for weight in layer.parameters())}


def slowed(optimizer: optim.Optimizer, weights: set[nn.Parameter], share: float) -> optim.Optimizer:
    """The optimizer, not yet used, with these weights in groups of their own at a share of the rate."""
    if share == 1.0:
        return optimizer
    if isinstance(optimizer, CompositeOptimizer):
        members = [slowed(member, weights, share) for member in optimizer.members]
        return CompositeOptimizer(members)
    for group in list(optimizer.param_groups):
        slow = [weight for weight in group["params"] if weight in weights]
        group["params"] = [weight for weight in group["params"] if weight not in weights]
        if slow:
            rate = share * cast("float", group.get("relative_rate", 1.0))
            optimizer.add_param_group({**group, "params": slow, "relative_rate": rate})
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
    return optimizer
