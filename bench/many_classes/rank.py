"""What rank costs: how near each head of width 32 comes to probabilities whose logits have rank 512.

    python bench/many_classes/rank.py     # writes the table into docs/many_classes.md

1,000 contexts over 1,000 classes; their probabilities are softmax(A · B) of random A [1000, 512] and B [512, 1000]. A
context's hidden values are free, so the divergence that remains is the head's alone. All heads have as many parameters
as the softmax, so a mixture's width is smaller.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from torch import Tensor, nn

from bench import page
from training import config
from training.heads import table
from training.heads.head import Head

DOCUMENT = page.ROOT / "docs" / "many_classes.md"
CONTEXTS, CLASSES, WIDTH, RANK, SPREAD = 1000, 1000, 32, 512, 2.0
HEADS = (
    ("softmax", config.Head(name="full")),
    ("sigsoftmax", config.Head(name="sigsoftmax")),
    ("PLIF", config.Head(name="plif")),
    ("mixture of 4", config.Head(name="mixture", components=4)),
    ("mixture of 8", config.Head(name="mixture", components=8)),
)


def main() -> None:
    """One fit a head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500, help="of each fit; default: %(default)s")
    steps: int = parser.parse_args().steps
    target = _target()
    budget = _parameters(_head(config.Head(name="full"), WIDTH), WIDTH)
    lines = ["| head | width | parameters | divergence left, nats | rank of the logits |", "|---|--:|--:|--:|--:|"]
    for name, settings in HEADS:
        width = _width(settings, budget)
        divergence, rank = _fit(settings, width, target, steps)
        parameters = _parameters(_head(settings, width), width)
        lines.append(f"| {name} | {width} | {parameters:,} | {divergence:.3f} | {rank} |")
        print(lines[-1], flush=True)
    intro = f"{CONTEXTS:,} contexts, {CLASSES:,} classes, a target of rank {RANK}, {steps:,} steps of Adam.\n\n"
    page.write(DOCUMENT, "bench/many_classes/rank.py", intro + "\n".join(lines))


def _target() -> Tensor:
    """float32 [contexts, classes], the probabilities."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(*shape, generator=generator) for shape in ((CONTEXTS, RANK), (RANK, CLASSES)))
    return torch.softmax(SPREAD * left @ right / math.sqrt(RANK), dim=1)


def _head(settings: config.Head, width: int) -> Head:
    return table.build(width, torch.full((CLASSES,), 1.0 / CLASSES), settings)


def _parameters(head: Head, width: int) -> int:
    return sum(weight.numel() for weight in head.parameters()) + CONTEXTS * width


def _width(settings: config.Head, budget: int) -> int:
    """The largest that keeps to the budget; the few pieces of a curve do not count."""
    width = WIDTH
    while _parameters(_head(settings, width), width) > budget + settings.pieces:
        width -= 1
    return width


def _fit(settings: config.Head, width: int, target: Tensor, steps: int) -> tuple[float, int]:
    """(mean Kullback-Leibler divergence, rank of the logits) at the end."""
    torch.manual_seed(0)
    head, hidden = _head(settings, width), nn.Parameter(torch.randn(CONTEXTS, width))
    optimizer = torch.optim.Adam([hidden, *head.parameters()], lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    entropy = -(target * target.clamp(min=1e-30).log()).sum(dim=1).mean()
    started = time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -(target * torch.log_softmax(head(hidden), dim=1)).sum(dim=1).mean() - entropy
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"{settings.name}: {time.perf_counter() - started:.0f} s", flush=True)
    with torch.no_grad():
        return float(loss), int(torch.linalg.matrix_rank(head(hidden)))


if __name__ == "__main__":
    main()
