"""Which clipping rule rescues which bad set-up, and what a clip finds to do in the usual MNIST run.

    python bench/clipping/run.py    # 147 epochs of MNIST on one core

Writes `results.md` beside this file and two plots into `docs/images/`. It has its own training loop on purpose:
no schedule, no augmentation, no best epoch, so that nothing but the clip can rescue a run.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clipmax import idx
from training.clipping import RULES, NormHistory

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "mnist"
IMAGES = ROOT / "docs" / "images"
RESULTS = Path(__file__).with_name("results.md")
BATCH = 128
SEEDS = (0, 1, 2)
USUAL_EPOCHS = 10
HARSH_EPOCHS = 1
NETWORK = "Network 784-256-128-10 with ReLU and PyTorch's default initialization"
TRAINED = 0.85
"""Test accuracy from which a run of one epoch counts as rescued; the usual set-up reaches about 0.95."""


@dataclass(frozen=True, kw_only=True)
class SetUp:
    """How a run is set up; pixels are 0..1 times `scale`."""

    name: str
    optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]
    scale: float = 1.0
    epochs: int = HARSH_EPOCHS


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A rule, its limit, and whether it is called in the right place."""

    rule: str
    limit: float
    after_step: bool = False

    @property
    def name(self) -> str:
        if self.rule == "none":
            return "none"
        return f"{self.rule} {self.limit:g}" + (", after the step" if self.after_step else "")


@dataclass(kw_only=True)
class Trace:
    """What one run showed: norm and largest element of each step before clipping, and how it ended."""

    norms: list[float] = field(default_factory=list)
    largest: list[float] = field(default_factory=list)
    fired: int = 0
    accuracy: float = math.nan
    weights: Tensor = field(default_factory=lambda: torch.zeros(0))


@dataclass(frozen=True)
class Digits:
    """Pixels 0..1 as float32 [N, 784] and labels as int64 [N], for training and test."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


USUAL = SetUp(name="usual (Adam 1e-3, pixels 0..1)", optimizer=partial(torch.optim.Adam, lr=1e-3), epochs=USUAL_EPOCHS)
MILD = SetUp(name="SGD 0.5, pixels 0..1", optimizer=partial(torch.optim.SGD, lr=0.5))
HARSH = (
    SetUp(name="SGD 2, pixels 0..1", optimizer=partial(torch.optim.SGD, lr=2.0)),
    SetUp(name="SGD 0.5, momentum 0.9, pixels 0..1", optimizer=partial(torch.optim.SGD, lr=0.5, momentum=0.9)),
    SetUp(name="SGD 0.1, raw pixels 0..255", optimizer=partial(torch.optim.SGD, lr=0.1), scale=255.0),
    SetUp(name="SGD 0.5, raw pixels 0..255", optimizer=partial(torch.optim.SGD, lr=0.5), scale=255.0),
)
NO_CLIP = Clip(rule="none", limit=1.0)
VALUE_1 = Clip(rule="value", limit=1.0)
AFTER_STEP = Clip(rule="norm", limit=1.0, after_step=True)
CLIPS = (
    NO_CLIP,
    VALUE_1,
    Clip(rule="value", limit=0.01),
    Clip(rule="norm", limit=1.0),
    Clip(rule="layer", limit=1.0),
    Clip(rule="agc", limit=0.01),
    Clip(rule="autoclip", limit=10.0),
    Clip(rule="zclip", limit=2.5),
    AFTER_STEP,
)


def read_digits() -> Digits:
    """MNIST as shipped with the example."""

    def images(part: str) -> Tensor:
        return torch.from_numpy(idx.read(DATA / f"{part}-images-idx3-ubyte.gz")).flatten(1).float() / 255

    def labels(part: str) -> Tensor:
        return torch.from_numpy(idx.read(DATA / f"{part}-labels-idx1-ubyte.gz")).long()

    return Digits(images("train"), labels("train"), images("t10k"), labels("t10k"))


def run(set_up: SetUp, clip: Clip, seed: int, digits: Digits) -> Trace:
    """Train 784-256-128-10 and test it; stops early once the loss is not finite."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = set_up.optimizer(model.parameters())
    history, trace = NormHistory(), Trace()
    for batch in batches(len(digits.labels), set_up.epochs):
        loss = cross_entropy(model(digits.images[batch] * set_up.scale), digits.labels[batch])
        if not math.isfinite(loss.item()):
            break
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        clip_and_step(list(model.parameters()), optimizer, clip, history, trace)
    with torch.no_grad():
        guesses = model(digits.test_images * set_up.scale).argmax(1)
    trace.accuracy = (guesses == digits.test_labels).float().mean().item()
    trace.weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    return trace


def batches(rows: int, epochs: int) -> Iterator[Tensor]:
    for _ in range(epochs):
        order = torch.randperm(rows)
        yield from (order[start : start + BATCH] for start in range(0, rows, BATCH))


def clip_and_step(
    parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer, clip: Clip, history: NormHistory, trace: Trace
) -> None:
    if clip.after_step:
        optimizer.step()
    clipped = RULES[clip.rule](parameters, clip.limit, history)
    if not clip.after_step:
        optimizer.step()
    trace.norms.append(clipped.norm.item())
    trace.largest.append(clipped.largest.item())
    trace.fired += int(clipped.fired.item())


def run_all(set_up: SetUp, clips: Sequence[Clip], digits: Digits) -> dict[Clip, list[Trace]]:
    traces = {clip: [run(set_up, clip, seed, digits) for seed in SEEDS] for clip in clips}
    worst = ", ".join(f"{clip.name} {min(trace.accuracy for trace in traces[clip]):.3f}" for clip in clips)
    print(f"{set_up.name}: {worst}", flush=True)
    return traces


def same_weights(one: Sequence[Trace], other: Sequence[Trace]) -> bool:
    """Bit for bit, NaN included."""
    return all(
        torch.equal(a.weights.view(torch.int32), b.weights.view(torch.int32)) for a, b in zip(one, other, strict=True)
    )


def describe(usual: Sequence[Trace], mild: dict[Clip, list[Trace]], harsh: dict[str, dict[Clip, list[Trace]]]) -> str:
    """The whole results page."""
    after_step = all(same_weights(traces[NO_CLIP], traces[AFTER_STEP]) for traces in harsh.values())
    return "\n\n".join(
        [
            "# What clipping does on MNIST",
            f"Written by `python bench/clipping/run.py`. {NETWORK}, cross-entropy, batch {BATCH}, {len(SEEDS)} seeds.",
            f"## {USUAL.name}, {USUAL_EPOCHS} epochs, value clip 1.0",
            usual_table(usual),
            f"## Harsh set-ups, {HARSH_EPOCHS} epoch",
            f"Test accuracy in percent, worst to best seed; bold where every seed reached {TRAINED:.0%}.",
            "In brackets: share of steps in which the rule fired.",
            harsh_table(harsh),
            f"Clipped after the step, the weights end as without a clip, bit for bit: {'yes' if after_step else 'no'}.",
            f"## {MILD.name}, {HARSH_EPOCHS} epoch: needs no rescue",
            harsh_table({MILD.name: mild}),
        ]
    )


def usual_table(traces: Sequence[Trace]) -> str:
    lines = [
        "| seed | largest gradient element | largest norm | median norm | steps | fired | test accuracy |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for seed, trace in zip(SEEDS, traces, strict=True):
        norms = f"{max(trace.norms):.2f} | {statistics.median(trace.norms):.3f} | {len(trace.norms)}"
        lines.append(f"| {seed} | {max(trace.largest):.2f} | {norms} | {trace.fired} | {trace.accuracy:.2%} |")
    return "\n".join(lines)


def harsh_table(results: dict[str, dict[Clip, list[Trace]]]) -> str:
    clips = list(next(iter(results.values())))
    lines = [f"| set-up | {' | '.join(clip.name for clip in clips)} |", "| --- |" + " --- |" * len(clips)]
    lines += [f"| {name} | {' | '.join(cell(traces[clip]) for clip in clips)} |" for name, traces in results.items()]
    return "\n".join(lines)


def cell(traces: Sequence[Trace]) -> str:
    accuracies = sorted(trace.accuracy for trace in traces)
    share = sum(trace.fired for trace in traces) / sum(len(trace.norms) for trace in traces)
    text = f"{accuracies[0] * 100:.0f}-{accuracies[-1] * 100:.0f}"
    return f"{f'**{text}**' if accuracies[0] >= TRAINED else text} ({share:.0%})"


def plot_usual(traces: Sequence[Trace], path: Path) -> None:
    """Largest element in each stretch of ten steps, beside the limit that it never meets."""
    figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for seed, trace in zip(SEEDS, traces, strict=True):
        peaks = [max(trace.largest[start : start + 10]) for start in range(0, len(trace.largest), 10)]
        axes.plot(range(0, len(trace.largest), 10), peaks, linewidth=0.7, label=f"seed {seed}")
    axes.axhline(1.0, color="black", linestyle="--", linewidth=1)
    axes.text(len(traces[0].largest), 0.7, "value clip 1.0", ha="right")
    axes.set(yscale="log", ylim=(None, 4), xlabel="step", ylabel="largest gradient element")
    axes.set_title("The usual MNIST run: a value clip of 1.0 has nothing to do")
    axes.legend(loc="upper left", ncols=3)
    save(figure, path)


def plot_harsh(harsh: dict[str, dict[Clip, list[Trace]]], path: Path) -> None:
    """Worst test accuracy of the seeds for every set-up and clip."""
    worst = [[min(t.accuracy for t in traces[clip]) * 100 for clip in CLIPS] for traces in harsh.values()]
    figure, axes = plt.subplots(figsize=(9.5, 3.8), layout="constrained")
    axes.imshow(worst, vmin=0, vmax=100, cmap="RdYlGn", aspect="auto", alpha=0.75)
    for row, line in enumerate(worst):
        for column, accuracy in enumerate(line):
            axes.text(column, row, f"{accuracy:.0f}", ha="center", va="center")
    axes.set_xticks(range(len(CLIPS)), [clip.name.replace(", ", "\n").replace(" ", "\n", 1) for clip in CLIPS])
    axes.set_yticks(
        range(len(harsh)), [name.replace(", pixels", "\npixels").replace(", raw", "\nraw") for name in harsh]
    )
    axes.set_title(f"Test accuracy (%) after one epoch, worst of {len(SEEDS)} seeds")
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, facecolor="white", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    torch.set_num_threads(1)
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "clipmax"  # The same figures give the same file.
    begin, digits = time.perf_counter(), read_digits()
    usual = run_all(USUAL, (VALUE_1,), digits)[VALUE_1]
    mild = run_all(MILD, (NO_CLIP, VALUE_1, CLIPS[3]), digits)
    harsh = {set_up.name: run_all(set_up, CLIPS, digits) for set_up in HARSH}
    RESULTS.write_text(describe(usual, mild, harsh) + "\n", encoding="utf-8")
    plot_usual(usual, IMAGES / "clipping-usual.svg")
    plot_harsh(harsh, IMAGES / "clipping-harsh.svg")
    print(f"{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
