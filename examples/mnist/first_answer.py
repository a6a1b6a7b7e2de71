"""One real test digit → the service's answer: the digit drawn, the answer in words and bars, and the same with curl."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clipmax import Client, Prediction, idx
from clipmax.client import ClientError

HERE = Path(__file__).parent
MODEL = "mnist"
SHADES = " ░▒▓█"
BAR_WIDTH = 30
DIGIT = 65
"""A four that is nearly a nine, so that there is something to be calibrated about."""


def main() -> int:
    arguments = parse()
    digit = idx.read(HERE / "t10k-images-idx3-ubyte.gz")[arguments.index]
    label = int(idx.read(HERE / "t10k-labels-idx1-ubyte.gz")[arguments.index])
    try:
        with Client(arguments.url) as client:
            client.wait_until_ready(arguments.wait)
            (prediction,) = client.predict(digit[np.newaxis], model=MODEL, top_k=3)
    except ClientError as error:
        print(f"first_answer: {error}", file=sys.stderr)
        return 1
    print(f"\nTest digit {arguments.index}, as the service gets it (28×28 grey pixels):\n")
    print(drawing(digit))
    print(answer(prediction, label))
    print(f"\nThe same with curl:\n\n  {curl(arguments.url, digit)}\n", flush=True)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Send one MNIST test digit to a clipmax service.")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--index", type=int, choices=range(10_000), default=DIGIT, metavar="0..9999")
    parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for the service to be ready")
    return parser.parse_args()


def drawing(digit: npt.NDArray[np.uint8]) -> str:
    """Two rows of pixels a line, because characters are twice as high as wide."""
    pairs = digit.reshape(digit.shape[0] // 2, 2, digit.shape[1]).mean(axis=1)
    steps = np.ceil(pairs / 255 * (len(SHADES) - 1)).astype(int)
    lines = ["".join(SHADES[step] for step in line).rstrip() for line in steps]
    return "\n".join(f"  {line}" for line in lines if line) + "\n"


def answer(prediction: Prediction, label: int) -> str:
    """What the service said, in words and bars."""
    said = (
        f"{prediction.model}, version {prediction.version}, says {prediction.label} "
        f"with probability {prediction.probability:.4f}. The data set says {label}.\n"
    )
    bars = (
        f"  {top.label}  {'█' * round(top.probability * BAR_WIDTH):<{BAR_WIDTH}}  {top.probability:.4f}"
        for top in prediction.top
    )
    return "\n".join([said, *bars])


def curl(url: str, digit: npt.NDArray[Any]) -> str:
    """A command that sends the same digit; its body lies in a temporary file, so that the line stays short."""
    with tempfile.NamedTemporaryFile("w", prefix="digit-", suffix=".json", delete=False) as body:
        json.dump({"instances": [digit.tolist()]}, body)
    endpoint = shlex.quote(f"{url}/v1/models/{MODEL}:predict")
    return f"curl -H 'Content-Type: application/json' -d @{shlex.quote(body.name)} {endpoint}"


if __name__ == "__main__":
    sys.exit(main())
