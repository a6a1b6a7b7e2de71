"""A classifier's weights in its exported graph, by their names in the module: written there, and read again."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from clipmax.refusal import Refusal

PREFIX = "classifier."
_NOTE = "clipmax.weight."
_MERGED_VALUES = 1024
"""The exporter merges equal tensors of at most so many values, and leaves out a factor of 1 or a term of 0."""


def note_lost(model: onnx.ModelProto, classifier: nn.Module) -> None:
    """Write into the graph's metadata each small weight that is not among its initializers under its own name.

    An initializer has the name of its parameter or buffer, but where two are equal the exporter keeps one.
    """
    kept = {initializer.name for initializer in model.graph.initializer}
    for name, value in classifier.state_dict().items():
        is_lost = f"{PREFIX}{name}" not in kept and value.is_floating_point() and value.numel() <= _MERGED_VALUES
        if is_lost:
            tensor = numpy_helper.from_array(value.numpy(), name)
            note = base64.b64encode(tensor.SerializeToString()).decode("ascii")
            model.metadata_props.add(key=f"{_NOTE}{name}", value=note)


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors by name, or by the part of it after a prefix.

    Args:
        where: the graph's file, for messages.
        tensors: name in the classifier → value.
    """

    where: Path
    tensors: Mapping[str, Tensor]

    @classmethod
    def read(cls, content: bytes, *, where: Path) -> Self:
        """Those initializers of a graph, and notes in its metadata, that have a name in the classifier."""
        model = onnx.load_from_string(content)
        named = {each.name: each for each in model.graph.initializer if each.name.startswith(PREFIX)}
        for entry in model.metadata_props:
            if entry.key.startswith(_NOTE):
                tensor = onnx.TensorProto.FromString(base64.b64decode(entry.value))
                named[f"{PREFIX}{entry.key.removeprefix(_NOTE)}"] = tensor
        tensors = {name: torch.from_numpy(numpy_helper.to_array(each).copy()) for name, each in named.items()}
        return cls(where, tensors).under(PREFIX)

    def under(self, prefix: str) -> Self:
        """Those whose name begins with `prefix`, under the rest of it."""
        chosen = {name: value for name, value in self.tensors.items() if name.startswith(prefix)}
        return type(self)(self.where, {name.removeprefix(prefix): value for name, value in chosen.items()})

    def take(self, name: str, shape: torch.Size | None = None) -> Tensor:
        """One tensor. Raises Refusal where there is none of this name and shape."""
        value = self.tensors.get(name)
        if value is None:
            raise Refusal(self.where, name, expected="an initializer of this name, as training writes it", found="none")
        if shape is not None and value.shape != shape:
            raise Refusal(self.where, name, expected=f"shape {list(shape)}", found=f"{list(value.shape)}")
        return value

    def fill(self, module: nn.Module) -> None:
        """Copy every float of a module's state from here; its integers follow from the schema."""
        with torch.no_grad():
            for name, value in module.state_dict().items():
                if value.is_floating_point():
                    value.copy_(self.take(name, value.shape))
