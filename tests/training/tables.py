"""Small tables of generated sentences, numbers and words, for runs that take seconds."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

_MOODS = {
    "0": ("shares of {} fall after a warning", "{} cuts its outlook, stock down", "analysts lower {} to sell"),
    "1": ("{} beats estimates, shares jump", "{} raises its dividend", "upgrade lifts {} to a record"),
    "2": ("{} publishes its annual report", "{} names a new chairman", "the meeting of {} is on Monday"),
}
_NAMES = ("Alpha Corp", "Beta AG", "Gamma Inc", "Delta", "中文公司", "Épsilon")


def write(path: Path, *, rows: int, seed: int) -> Path:
    """CSV with text, label, amount (sometimes missing) and region; the label shows in all three a little."""
    random = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "amount", "region"])
        for number in range(rows):
            label = str(number % 3)
            text = str(random.choice(_MOODS[label])).format(random.choice(_NAMES)) + f" {random.integers(100)}"
            amount = "" if random.random() < 0.1 else f"{random.normal(int(label), 1.0):.3f}"
            region = str(random.choice(["north", "south", "Köln"])) if random.random() < 0.5 else f"r{label}"
            writer.writerow([text, label, amount, region])
    return path
