"""The contenders that need torch: the tutorial, plain torch on tensors in memory, and clipmax's own loop.

python bench/training/torch_contenders.py NAME CORES
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import contender
import digits


def tutorial() -> contender.Epoch:
    """What a beginner's tutorial shows: a Dataset that transforms each image, a DataLoader, figures read every step."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    images, labels = digits.read()

    class Digits(Dataset[tuple[torch.Tensor, int]]):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            image = torch.from_numpy(images[index]).unsqueeze(0)  # ToTensor: [1, 28, 28], 0 to 1
            image = image.to(torch.float32).div(255)
            return image.sub(0.1307).div(0.3081), int(labels[index])  # Normalize

    model = _network()
    optimizer = torch.optim.Adam(model.parameters(), lr=digits.LEARNING_RATE)
    criterion = nn.CrossEntropyLoss()
    loader = DataLoader(Digits(), batch_size=digits.BATCH, shuffle=True, drop_last=True)

    def epoch() -> dict[str, float]:
        model.train()
        total, correct, seen = 0.0, 0, 0
        for batch, truth in loader:
            optimizer.zero_grad()
            logits = model(batch.flatten(1))
            loss = criterion(logits, truth)
            loss.backward()
            nn.utils.clip_grad_value_(model.parameters(), digits.LIMIT)
            optimizer.step()
            total += loss.item()
            correct += (logits.argmax(dim=1) == truth).sum().item()
            seen += len(truth)
        return {"loss": total / digits.STEPS}

    return epoch


def memory() -> contender.Epoch:
    """Tensors in memory, encoded once, fused Adam, nothing read before the epoch's end; denormals as torch has them."""
    return _memory(flush=False)


def flushed() -> contender.Epoch:
    """The same with denormals flushed to zero: they live in Adam's first moment."""
    return _memory(flush=True)


def _memory(*, flush: bool) -> contender.Epoch:
    import torch
    from torch import nn

    torch.set_flush_denormal(flush)
    images, labels = digits.read()
    features = torch.from_numpy(images).flatten(1).float().div(255)
    truth = torch.from_numpy(labels)
    model = _network()
    optimizer = torch.optim.Adam(model.parameters(), lr=digits.LEARNING_RATE, fused=True)
    criterion = nn.CrossEntropyLoss()

    def epoch() -> dict[str, float]:
        total = torch.zeros(())
        for rows in torch.randperm(digits.ROWS)[: digits.STEPS * digits.BATCH].split(digits.BATCH):
            optimizer.zero_grad()
            loss = criterion(model(features[rows]), truth[rows])
            loss.backward()
            nn.utils.clip_grad_value_(model.parameters(), digits.LIMIT)
            optimizer.step()
            total += loss.detach()
        return {"loss": total.item() / digits.STEPS}

    return epoch


def ours() -> contender.Epoch:
    """`training.loop.fit` on the article's configuration: encoder in the model, norm, largest element and share clipped
    measured in every step, a non-finite step stopped. Its seconds are those of the steps; the others validate nothing.
    """
    from training import defaults, loop, run, run_file, runtime
    from training.data import sources
    from training.features import encoders

    cores = int(sys.argv[2])
    settings = run_file.read(digits.FOLDER / "article.toml", [f"threads={cores}"])
    runtime.prepare(cores)
    dataset = sources.read(settings.data, text_length=settings.texts.max_length)
    settings = defaults.fill(settings, dataset)
    progress = run.start(settings, dataset)
    dataset = encoders.prepare(progress.model.placed, dataset)
    if len(dataset.train) != digits.ROWS:
        raise ValueError(f"expected {digits.ROWS} training rows, as the others have, got {len(dataset.train)}")

    def epoch() -> dict[str, float]:
        one_more = settings.fit.model_copy(update={"epochs": len(progress.epochs) + 1})
        started, used = time.perf_counter(), time.process_time()
        after_step: list[float] = []
        grown = settings.model_copy(update={"fit": one_more})
        loop.fit(progress, grown, dataset, on_step=lambda: after_step.append(time.process_time()))
        return {
            "loss": progress.epochs[-1].loss,
            "seconds": progress.epochs[-1].seconds,
            "processor_seconds": after_step[-1] - used,
            "whole_seconds": time.perf_counter() - started,
        }

    return epoch


def _network() -> Any:
    import torch
    from torch import nn

    torch.set_num_threads(int(sys.argv[2]))
    pairs = list(zip(digits.WIDTHS, digits.WIDTHS[1:], strict=False))
    layers: list[nn.Module] = []
    for width, following in pairs[:-1]:
        layers += [nn.Linear(width, following), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*pairs[-1]))


CONTENDERS: dict[str, Callable[[], contender.Epoch]] = {
    "tutorial": tutorial,
    "memory": memory,
    "flushed": flushed,
    "ours": ours,
}

if __name__ == "__main__":
    contender.limit_cores(int(sys.argv[2]))
    contender.obey(CONTENDERS[sys.argv[1]]())
