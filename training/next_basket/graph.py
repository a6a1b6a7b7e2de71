"""A fitted model → its graph: histories of codes and days in, logits and calibrated probabilities out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from clipmax.history import FIRST_ITEM_CODE
from clipmax.inputs import HistoryInput, tensors
from clipmax.manifest import FULL_OUTPUTS, MODEL_FILE
from clipmax.refusal import Refusal
from training import answers, onnx_file, parity
from training.next_basket.bought import DECAY_DAYS
from training.next_basket.logit import Logit

Floats = npt.NDArray[np.float32]


class NextBasket(nn.Module):
    """What is exported.

    Args:
        logit: the fitted model.
        temperature: divides the logits before the softmax.
        oldest: days are clipped to 0..oldest.

    Shape:
        - Input: float32 [N, L, 2], of each purchase the item's code and the days since, as `history.pairs` gives them
        - Output: float32 [N, K] logits and float32 [N, K] probabilities
    """

    related: Tensor
    weights: Tensor
    prior: Tensor

    def __init__(self, logit: Logit, *, temperature: float, oldest: float) -> None:
        super().__init__()
        *weights, recent = logit.weights.tolist()
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))
        self.register_buffer("related", torch.from_numpy(logit.related.weights))
        self.register_buffer("prior", torch.from_numpy((recent * logit.related.recent).astype(np.float32)))
        self.temperature = temperature
        self.oldest = oldest

    def forward(self, history: Tensor) -> tuple[Tensor, Tensor]:
        items = history[:, :, 0].to(torch.int64)
        days = history[:, :, 1].clamp(0.0, self.oldest)
        times = self._counted(items, torch.ones_like(days))
        lately = self._counted(items, torch.exp(-days / DECAY_DAYS))
        seen = (times > 0).to(torch.float32)
        logits = (
            self.weights[0] * torch.log1p(times)
            + self.weights[1] * torch.log1p(lately)
            + self.weights[2] * seen
            + self.weights[3] * (seen @ self.related) * (1.0 - seen)
            + self.prior
        )
        return logits, torch.softmax(logits / self.temperature, dim=1)

    def _counted(self, items: Tensor, amounts: Tensor) -> Tensor:
        """The amounts of each item together: [N, L] → [N, K]; padding and unknown items have no column."""
        columns = torch.zeros(items.shape[0], FIRST_ITEM_CODE + len(self.prior), dtype=torch.float32)
        return columns.scatter_add(1, items, amounts)[:, FIRST_ITEM_CODE:]


def to_onnx(module: NextBasket, schema: HistoryInput) -> bytes:
    """One self-contained ONNX file: rows and the length of the histories are free."""
    free = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim.DYNAMIC}
    example = torch.from_numpy(np.zeros((2, 12, 2), dtype=np.float32))
    model = onnx_file.export(module, (example,), inputs=[schema.name], outputs=FULL_OUTPUTS, free_axes=(free,))
    content = model.content()
    onnx_file.check(content)
    return content


def run(module: NextBasket, tensor: Floats) -> list[Floats]:
    """What torch gives: logits and probabilities, float32 [N, K] each."""
    with torch.no_grad():
        return [output.numpy() for output in module(torch.from_numpy(tensor))]


def check_parity(graph: bytes, module: NextBasket, schema: HistoryInput, instances: Sequence[object]) -> float:
    """Compare onnxruntime's probabilities with torch's on these instances, at batches of 1, 7 and 256.

    Returns:
        The largest difference found.

    Raises:
        Refusal: a difference above 1e-5, or a result that is not finite.
    """
    session = answers.session(graph)
    worst = 0.0
    for batch in parity.BATCHES:
        rows = [instances[place % len(instances)] for place in range(max(batch, len(instances)))]
        for start in range(0, len(rows), batch):
            inputs = tensors((schema,), rows[start : start + batch])
            _, expected = run(module, inputs[schema.name])
            (found,) = session.run(["probabilities"], inputs)
            worst = max(worst, _difference(expected, found, f"parity at batch {batch}"))
    return worst


def _difference(expected: Floats, found: Floats, what: str) -> float:
    difference = float(np.abs(expected - found).max())
    if not (np.isfinite(found).all() and difference <= parity.TOLERANCE):  # a NaN of torch's is refused too
        raise Refusal(MODEL_FILE, what, expected=f"at most {parity.TOLERANCE}", found=f"{difference:.3g}")
    return difference
