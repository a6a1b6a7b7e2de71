# %% [markdown]
# # From digits to an answer over HTTP
#
# Train a small classifier on handwritten digits, look at what the softmax does to it, calibrate it, serve it, and ask
# it. Everything runs on one CPU core in less than a minute; nothing is downloaded.
#
# This notebook is made from `digits.py` by `build.py`. To run it: `pip install 'clipmax[training]' jupyterlab`.

# %%
import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from clipmax import Client, idx

MNIST = next(path for folder in (Path.cwd(), *Path.cwd().parents) if (path := folder / "examples" / "mnist").is_dir())
WORK = Path(tempfile.mkdtemp(prefix="digits-"))


def clipmax(*arguments: str) -> str:
    """Run the command `clipmax` in the working folder and return what it prints."""
    command = [sys.executable, "-m", "clipmax.cli", *arguments]
    return subprocess.run(command, cwd=WORK, check=True, capture_output=True, text=True).stdout


# %% [markdown]
# ## 1. Data
#
# 4,000 digits to train with and 2,000 for the one test at the end: a part of MNIST, so that a whole run takes seconds.
# An image is 28 × 28 numbers from 0 to 255.

# %%
images, labels = (idx.read(MNIST / f"train-{name}.gz") for name in ("images-idx3-ubyte", "labels-idx1-ubyte"))
test_images, test_labels = (idx.read(MNIST / f"t10k-{name}.gz") for name in ("images-idx3-ubyte", "labels-idx1-ubyte"))
test_images, test_labels = test_images[:2000], test_labels[:2000]
np.savez(WORK / "digits.npz", x_train=images[:4000], y_train=labels[:4000], x_test=test_images, y_test=test_labels)

figure, axes = plt.subplots(1, 10, figsize=(10, 1.4))
for place, axis in enumerate(axes):
    axis.imshow(images[place], cmap="gray_r")
    axis.set_title(labels[place])
    axis.axis("off")
plt.show()

# %% [markdown]
# ## 2. Train
#
# One run is one TOML file. This one has two hidden layers, 20 epochs and gradient clipping: between `backward` and
# `step`, a gradient longer than 1 is scaled to length 1. A quarter of the training rows is set aside for validation.
# `keep = "last"` keeps the weights of the last epoch even if an earlier one was better, to see what happens to them.

# %%
(WORK / "digits.toml").write_text("""
name = "digits"
seed = 0

[data]
source = "npz"
file = "digits.npz"
validation = 0.25

[model]
hidden = [256, 128]

[fit]
epochs = 20
keep = "last"

[clipping]
rule = "norm"
limit = 1.0

[abstention]
risk = 0.05
""")
lines = clipmax("train", "digits.toml").splitlines()
print("\n".join([lines[0], "…", *lines[-5:]]))

# %% [markdown]
# ## 3. What the softmax did
#
# Softmax turns logits $z$ into probabilities $p = e^{z} / \sum e^{z}$. With cross-entropy, the gradient that reaches
# the logits is $p - y$: the distance between what the model says and what is true. Once a training row is answered
# with 0.9999, next to nothing of it is left to learn from. The run has measured this after every epoch.

# %%
report = json.loads((WORK / "models" / "digits" / "1" / "report.json").read_text())
epochs = [epoch["epoch"] for epoch in report["epochs"]]
diagnostics = [epoch["diagnostics"] for epoch in report["epochs"]]

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.2), layout="constrained")
left.plot(epochs, [epoch["loss"] for epoch in report["epochs"]], label="training loss")
left.plot(epochs, [epoch["validation_log_loss"] for epoch in report["epochs"]], label="validation log loss")
left.set(xlabel="epoch", ylabel="nats", yscale="log", title="Loss")
left.legend()
middle.plot(epochs, [one["confident"] for one in diagnostics], label="top probability above 0.999")
middle.plot(epochs, [one["saturated"] for one in diagnostics], label="exactly 1 in float32")
middle.set(xlabel="epoch", ylabel="share of training rows", ylim=(0, 1), title="Saturation")
middle.legend()
right.plot(epochs, [one["logit_gradient"] for one in diagnostics], label="mean length of p - y")
right.plot(epochs, [epoch["grad_norm_max"] for epoch in report["epochs"]], label="longest gradient, before clipping")
right.axhline(report["clipping"]["limit"], linestyle="--", color="black", label="clip line")
right.set(xlabel="epoch", yscale="log", title="Gradients")
right.legend()
plt.show()

# %%
for sentence in report["softmax"][:3]:
    print("-", sentence)

# %% [markdown]
# ## 4. Calibrate
#
# On rows it has seen, such a model is nearly always sure and right. On others it is as sure, and less often right. One
# number mends most of that: all logits are divided by a temperature, fitted on validation. It changes no answer, only
# how sure it is. Training has done it already, and the temperature is part of the exported graph.
#
# Below, each point is a bin of test rows. On the diagonal, a probability of 0.8 is right in 80 of 100 cases. The bars
# show how far from it chance alone would put a perfectly calibrated model.

# %%
metrics = report["test"]["metrics"]
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
for axis, name, error in zip(axes, ("before", "after"), ("ece_uncalibrated", "ece"), strict=True):
    bins = report["reliability"][name]
    filled = [place for place, count in enumerate(bins["count"]) if count]
    confidence, accuracy, low, high = (
        [bins[key][place] for place in filled] for key in ("confidence", "accuracy", "band_low", "band_high")
    )
    axis.plot([0, 1], [0, 1], color="gray", linestyle=":")
    axis.vlines(confidence, low, high, color="tab:green", linewidth=6, alpha=0.4)
    axis.scatter(confidence, accuracy, s=[10 + bins["count"][place] / 10 for place in filled], zorder=3)
    axis.set(xlabel="top probability", title=f"{name} the temperature: ECE {metrics[error]:.2%}")
axes[0].set_ylabel("share that was right")
plt.show()
print(
    f"temperature {report['temperature']:.2f}; log loss {metrics['log_loss_uncalibrated']:.4f} before, "
    f"{metrics['log_loss']:.4f} after; accuracy {metrics['accuracy']:.2%} both times"
)

# %% [markdown]
# ## 5. Serve
#
# `models/digits/1` holds one ONNX graph from pixels to calibrated probabilities, and a manifest with the words and the
# proof. The service checks both before it answers, and needs neither torch nor this notebook.

# %%
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]

serve = [sys.executable, "-m", "clipmax.cli", "serve", "--port", str(port)]
service = subprocess.Popen(serve, cwd=WORK, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
client = Client(f"http://127.0.0.1:{port}")
client.wait_until_ready(timeout_seconds=60)

# %% [markdown]
# ## 6. Ask
#
# `coverage=0.95` asks for a set of labels that holds the true one in 95 of 100 cases: one label where the model is
# sure, more where it is not. `abstain=True` says where it had better not decide, so that at most 5 in 100 of its
# answers are wrong. Here are the test digits that it is least sure of.

# %%
answers = client.predict(test_images, coverage=0.95, abstain=True)
unsure = np.argsort([answer.probability for answer in answers])[:8]

figure, axes = plt.subplots(2, 8, figsize=(12, 3.4), layout="constrained", height_ratios=(2, 1))
for place, row in enumerate(unsure):
    answer = answers[row]
    axes[0, place].imshow(test_images[row], cmap="gray_r")
    axes[0, place].set_title(f"true {test_labels[row]}\n{{{', '.join(answer.prediction_set)}}}", fontsize=10)
    axes[0, place].axis("off")
    axes[1, place].bar([top.label for top in answer.top], [top.probability for top in answer.top])
    axes[1, place].set_ylim(0, 1)
plt.show()

# %%
right = np.array([answer.label == str(label) for answer, label in zip(answers, test_labels, strict=True)])
covered = np.array([str(label) in answer.prediction_set for answer, label in zip(answers, test_labels, strict=True)])
sizes = np.array([len(answer.prediction_set) for answer in answers])
answered = np.array([not answer.abstained for answer in answers])
print(f"right: {right.mean():.2%}")
print(f"sets for 95%: the true label in {covered.mean():.2%} of them, {sizes.mean():.2f} labels on average")
print(f"answered: {answered.mean():.2%}, of these right: {right[answered].mean():.2%}")

# %% [markdown]
# The same from a shell: an image is a list of 28 rows, or a PNG or JPEG in base64.
#
# ```sh
# curl -H 'Content-Type: application/json' -d @examples/mnist/digit.json http://127.0.0.1:8000/predict
# ```
#
# Wrong input gets an answer too: which row, and what was expected.

# %%
from clipmax.client import ServerError  # noqa: E402  # where it is needed first

try:
    client.predict([[0, 255]])
except ServerError as error:
    print(error)

# %%
client.close()
service.terminate()
print("the service ended with", service.wait(timeout=60))

# %% [markdown]
# ## Where to go from here
#
# - `report.html` beside the graph has all of this and more for every run.
# - `clipmax train --init my-data.csv --label my-column` writes the TOML file for data of your own.
# - `docs/softmax.md` takes the claims about softmax one by one, `docs/training.md` has every field.
