"""The plots of docs/softmax.md, each from a calculation or a run made here.

    python docs/plots/softmax.py            # all
    python docs/plots/softmax.py starvation # only the ones named

Two of them need the MNIST run of the popular set-up (784-256-128-10, Adam 1e-3, batch 128, ten epochs), one seed.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clipmax import idx
from training import metrics
from training.losses import LOSSES

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
DATA = ROOT / "examples" / "mnist"
BATCH = 128
EPOCHS = 10
EARLY_STEPS = 60
COST_CLASSES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
COST_ROWS = 16
COST_WIDTH = 32


def jacobian() -> Figure:
    """Every kind of entry of the softmax's Jacobian against the margin, two and ten classes."""
    margin = torch.linspace(-12, 12, 481, dtype=torch.float64)
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained", sharey=True)
    for axes, classes in zip(panels, (2, 10), strict=True):
        logits = torch.zeros(len(margin), classes, dtype=torch.float64)
        logits[:, 0] = margin
        p = logits.softmax(1)
        axes.plot(margin, p[:, 0] * (1 - p[:, 0]), label="∂p₁/∂z₁ = p₁(1 - p₁)")
        axes.plot(margin, -p[:, 0] * p[:, 1], label="∂p₁/∂z₂ = -p₁p₂")
        for bound in (-0.25, 0.25):
            axes.axhline(bound, color="black", linestyle="--", linewidth=0.8)
        axes.set(xlabel="logit of class 1, all others 0", title=f"{classes} classes")
    panels[0].set_ylabel("entry of the Jacobian")
    panels[1].legend(loc="lower left", fontsize=8)
    figure.suptitle("No entry is larger than 1/4, whatever the logits")
    return figure


def starvation() -> Figure:
    """Length of the logit gradient of one row against its margin, for both losses of the table."""
    margin = torch.linspace(-20, 20, 401, dtype=torch.float64)
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for name, label in (("cross_entropy", "cross-entropy: |p - y|"), ("squared_error", "squared error")):
        sizes = [gradient_length(name, value) for value in margin]
        axes.plot(margin, sizes, label=label)
    axes.axhline(math.sqrt(2), color="black", linestyle="--", linewidth=0.8)
    axes.text(20, math.sqrt(2) * 1.25, "√2", ha="right")
    axes.axvspan(-20, 0, color="tab:red", alpha=0.07)
    axes.text(-19.5, 2e-9, "confident and wrong", color="tab:red")
    axes.text(19.5, 2e-9, "confident and right", ha="right")
    axes.set(yscale="log", ylim=(1e-9, 6), xlabel="margin: logit of the true class minus the other (2 classes)")
    axes.set(ylabel="length of the logit gradient", title="Only squared error starves the confident wrong rows")
    axes.legend(loc="lower center")
    return figure


def gradient_length(loss: str, margin: Tensor) -> float:
    logits = torch.tensor([[margin.item(), 0.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(LOSSES[loss](logits, torch.tensor([0])), logits)
    return float(gradient.norm())


def saturation() -> Figure:
    """1 - p of the top class in float32 and exactly, two and ten classes."""
    margin = np.linspace(0, 25, 1001)
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for classes, color in ((2, "tab:blue"), (10, "tab:orange")):
        logits = torch.zeros(len(margin), classes)
        logits[:, 0] = torch.from_numpy(margin)
        rounded = 1 - logits.softmax(1)[:, 0].double().numpy()
        exact = (classes - 1) / (classes - 1 + np.exp(margin))
        axes.plot(margin, exact, color=color, linewidth=0.8, linestyle="--", label=f"{classes} classes, exact")
        axes.plot(margin[rounded > 0], rounded[rounded > 0], color=color, label=f"{classes} classes, float32")
    first = margin[np.argmax(rounded == 0)]
    axes.axvline(first, color="black", linewidth=0.8, linestyle=":")
    axes.text(first + 0.2, 0.1, f"p = 1 from a margin\nof {first:.1f} on")
    axes.set(yscale="log", xlabel="margin of the top class over all others", ylabel="1 - p of the top class")
    axes.set_title("In float32, p becomes exactly 1")
    axes.legend(loc="lower left")
    return figure


def cost() -> Figure:
    """Least time of one forward and backward pass through the last layer and the softmax, against K."""
    times = [step_seconds(classes) * 1e3 for classes in COST_CLASSES]
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    axes.loglog(COST_CLASSES, times, "o-", label="measured (processor time, one thread)")
    slope = [times[-1] * classes / COST_CLASSES[-1] for classes in COST_CLASSES]
    axes.margins(0.08, 0.15)
    axes.margins(0.08, 0.15)
    axes.loglog(COST_CLASSES, slope, "--", color="black", linewidth=0.8, label="proportional to K")
    for classes, milliseconds in zip(COST_CLASSES, times, strict=True):
        shown = f"{milliseconds:.2f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
        axes.annotate(shown, (classes, milliseconds), (-4, 8), textcoords="offset points", ha="center")
    axes.set(xlabel="number of classes K", ylabel="milliseconds a step")
    axes.set_title(f"Last layer and softmax, there and back: {COST_ROWS} rows, {COST_WIDTH} features")
    axes.legend(loc="lower right")
    return figure


def step_seconds(classes: int) -> float:
    """Logits, softmax, p - y and the weights' gradient, into memory that is already there: no allocation is timed."""
    features, labels, rows = torch.randn(COST_ROWS, COST_WIDTH), torch.randint(classes, (COST_ROWS,)), range(COST_ROWS)
    weight, gradient = torch.randn(COST_WIDTH, classes), torch.zeros(classes, COST_WIDTH)
    logits, probabilities = torch.zeros(COST_ROWS, classes), torch.zeros(COST_ROWS, classes)
    seconds = []
    for _ in range(15):
        begin = time.thread_time()
        torch.mm(features, weight, out=logits)
        torch.softmax(logits, 1, out=probabilities)
        probabilities[rows, labels] -= 1
        torch.mm(probabilities.T, features, out=gradient)
        seconds.append(time.thread_time() - begin)
    return min(seconds)


def layers() -> Figure:
    """Gradient norm of each layer over the first steps, usual and two bad set-ups."""
    set_ups = (
        ("Adam 1e-3, pixels 0..1", 1.0, lambda p: torch.optim.Adam(p, lr=1e-3)),
        ("SGD 0.1, pixels 0..1", 1.0, lambda p: torch.optim.SGD(p, lr=0.1)),
        ("SGD 0.1, raw pixels 0..255", 255.0, lambda p: torch.optim.SGD(p, lr=0.1)),
    )
    figure, panels = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained", sharey=True)
    for axes, (name, scale, optimizer) in zip(panels, set_ups, strict=True):
        norms = early_norms(scale, optimizer)
        for index, label in enumerate(("layer 1", "layer 2", "layer 3", "logits of one row, largest")):
            seen = np.where(norms[:, index] > 0, norms[:, index], np.nan)  # No active unit: a gradient of zero.
            axes.plot(
                seen, linewidth=0.9, marker=".", markersize=3, label=label, color=f"C{index}" if index < 3 else "black"
            )
        axes.set(yscale="log", xlabel="step", title=name)
        axes.title.set_fontsize(10)
    panels[0].set_ylabel("gradient norm")
    panels[0].legend(fontsize=8, loc="upper right")
    figure.suptitle("The logit gradient stays below √2; scale and rate make the weights' gradients explode")
    return figure


def early_norms(scale: float, optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> np.ndarray:
    """Norm of each weight's gradient and the largest |p - y| of a row, [step, 4]."""
    images, labels, *_ = mnist()
    torch.manual_seed(0)
    model = mlp()
    steps = optimizer(list(model.parameters()))
    norms = []
    for batch in list(batches(len(labels)))[:EARLY_STEPS]:
        logits = model(images[batch] * scale)
        steps.zero_grad()
        torch.autograd.backward(cross_entropy(logits, labels[batch]))
        error = logits.detach().softmax(1) - nn.functional.one_hot(labels[batch], 10)
        weights = [
            float(torch.norm(weight.grad))
            for weight in model.parameters()
            if weight.grad is not None and weight.ndim == 2
        ]
        norms.append([*weights, float(error.norm(dim=1).max())])
        steps.step()
    return np.array(norms)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What a run showed after an epoch; shares and accuracies 0 to 1."""

    train_accuracy: float
    test_accuracy: float
    test_confidence: float
    test_log_loss: float
    above_999: float
    exactly_one: float


def epochs() -> Figure:
    """Accuracy on training and test rows, and how much of the training set is saturated, by epoch."""
    run = usual_run()
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    number = range(1, len(run) + 1)
    left.plot(
        number,
        [epoch.train_accuracy * 100 for epoch in run],
        "o-",
        label=f"training rows, at last {run[-1].train_accuracy:.2%}",
    )
    left.plot(
        number,
        [epoch.test_accuracy * 100 for epoch in run],
        "s-",
        label=f"test rows, at last {run[-1].test_accuracy:.2%}",
    )
    left.set(xlabel="epoch", ylabel="accuracy (%)", title="Training rows and test rows part ways")
    left.legend(loc="lower right")
    right.plot(number, [epoch.above_999 * 100 for epoch in run], "o-", label="p > 0.999")
    right.plot(number, [epoch.exactly_one * 100 for epoch in run], "s-", label="p = 1 exactly")
    right.set(xlabel="epoch", ylabel="share of training rows (%)", title="Saturated rows", ylim=(0, 100))
    right.legend(loc="upper left")
    return figure


def overconfidence() -> Figure:
    """Mean top probability against accuracy on the test rows, and the log loss, by epoch."""
    run = usual_run()
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    number = range(1, len(run) + 1)
    left.plot(number, [epoch.test_confidence * 100 for epoch in run], "o-", label="mean top probability")
    left.plot(number, [epoch.test_accuracy * 100 for epoch in run], "s-", label="accuracy")
    left.set(xlabel="epoch", ylabel="% of test rows", title="It says more than it knows")
    left.legend(loc="lower right")
    right.plot(number, [epoch.test_log_loss for epoch in run], "o-", color="tab:red")
    right.set(xlabel="epoch", ylabel="log loss on test rows (nats)", title="Log loss turns up, accuracy does not fall")
    return figure


@cache
def usual_run() -> tuple[Epoch, ...]:
    images, labels, test_images, test_labels = mnist()
    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    seen = []
    for _ in range(EPOCHS):
        for batch in batches(len(labels)):
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(model(images[batch]), labels[batch]))
            nn.utils.clip_grad_value_(model.parameters(), 1.0)
            optimizer.step()
        with torch.no_grad():
            seen.append(epoch_of(model(images), labels, model(test_images), test_labels))
    return tuple(seen)


def epoch_of(logits: Tensor, labels: Tensor, test_logits: Tensor, test_labels: Tensor) -> Epoch:
    top, test_top = logits.softmax(1).amax(1), test_logits.softmax(1).amax(1)
    return Epoch(
        train_accuracy=metrics.accuracy(logits.numpy(), labels.numpy()),
        test_accuracy=metrics.accuracy(test_logits.numpy(), test_labels.numpy()),
        test_confidence=test_top.double().mean().item(),
        test_log_loss=metrics.log_loss(test_logits.numpy(), test_labels.numpy()),
        above_999=(top > 0.999).double().mean().item(),
        exactly_one=(top == 1.0).double().mean().item(),
    )


def reachable() -> Figure:
    """Four class vectors in the plane, one inside the triangle of the others, and who wins in which direction."""
    vectors = np.array([[1.0, 0.0], [-0.5, 0.87], [-0.5, -0.87], [0.1, 0.1]])
    grid = np.stack(np.meshgrid(*[np.linspace(-1.3, 1.3, 200)] * 2), axis=-1)
    winner = (grid @ vectors.T).argmax(-1)
    figure, axes = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
    colors = mpl.colors.ListedColormap(["#cfe2f3", "#d9ead3", "#fff2cc", "#f4cccc"])
    axes.imshow(winner, origin="lower", extent=(-1.3, 1.3, -1.3, 1.3), cmap=colors, vmin=0, vmax=3)
    axes.plot(*vectors[[0, 1, 2, 0]].T, color="gray", linewidth=0.8)
    axes.plot(*vectors.T, "o", color="black")
    for name, (x, y) in zip("ABCD", vectors, strict=True):
        axes.annotate(name, (x, y), (7, 5), textcoords="offset points")
    axes.set(xlabel="feature 1", ylabel="feature 2", title="D lies inside the triangle and never wins")
    return figure


@cache
def mnist() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, test images and labels; pixels 0..1."""
    parts = []
    for part in ("train", "t10k"):
        parts.append(torch.from_numpy(idx.read(DATA / f"{part}-images-idx3-ubyte.gz")).flatten(1).float() / 255)
        parts.append(torch.from_numpy(idx.read(DATA / f"{part}-labels-idx1-ubyte.gz")).long())
    return parts[0], parts[1], parts[2], parts[3]


def batches(rows: int) -> Iterator[Tensor]:
    order = torch.randperm(rows)
    return (order[start : start + BATCH] for start in range(0, rows, BATCH))


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))


PLOTS: Mapping[str, Callable[[], Figure]] = MappingProxyType(
    {
        plot.__name__: plot
        for plot in (jacobian, starvation, saturation, cost, layers, epochs, overconfidence, reachable)
    }
)


def main(names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "clipmax"  # The same figures give the same file.
    for name in names or PLOTS:
        figure = PLOTS[name]()
        figure.savefig(IMAGES / f"softmax-{name}.svg", facecolor="white", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main(sys.argv[1:])
