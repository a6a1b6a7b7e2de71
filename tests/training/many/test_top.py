"""The graph that answers the most probable of very many classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from training import answers
from training.features.encoders import Placed
from training.heads.full import full
from training.heads.linear import Linear
from training.many.top import OUTPUTS, Top
from training.model import Classifier

_CLASSES = 100_000


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's exporter warns of its own internals
def test_many_classes_of_tiny_probability_count_together() -> None:
    """One class at 0 and all others at -17: a float32 that adds up one by one keeps 1 and loses them."""
    head = Linear("full", 1, torch.full((_CLASSES,), 1.0 / _CLASSES), full)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-17.0)
        head.bias[_CLASSES // 3] = 0.0
    model = Top(Classifier([Placed(nn.Identity(), (0,))], nn.Identity(), head=head), 1.0).eval()
    program = torch.onnx.export(model, (torch.zeros(1, 1),), output_names=list(OUTPUTS), dynamo=True, verbose=False)
    assert program is not None
    session = answers.session(program.model_proto.SerializeToString())
    classes, probabilities, log_partition = session.run(
        None, {session.get_inputs()[0].name: np.zeros((1, 1), dtype=np.float32)}
    )
    expected = math.log1p((_CLASSES - 1) * math.exp(-17.0))
    assert classes[0, 0] == _CLASSES // 3
    assert log_partition[0] == pytest.approx(expected, abs=5e-6)
    assert probabilities[0, 0] == pytest.approx(math.exp(-expected), abs=5e-6)
