"""Does a GPU give the same probabilities, how fast, and how loudly is a missing one refused?

    python bench/gpu/run.py MODELS [--starts 20]

MODELS is a folder of published models: one of images, one of rows and one of texts tell most. On a machine without a
GPU only the refusal is checked; the rest is skipped, with the reason.
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before onnxruntime is imported

import httpx
import numpy as np
import onnxruntime

from clipmax import inputs
from clipmax import manifest as manifests
from clipmax.manifest import MODEL_FILE
from clipmax.repository import Repository
from service.engine.providers import NAMES, Execution, Provider
from service.engine.session import Session

BATCHES = (1, 32, 1024)
RUNS = 200
TOLERANCE = 1e-5
START_SECONDS = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, metavar="MODELS", help="folder of published models")
    parser.add_argument("--starts", type=int, default=20, help="starts of the service with a missing provider")
    arguments = parser.parse_args()
    available = onnxruntime.get_available_providers()
    for provider in ("cuda", "tensorrt"):
        if NAMES[provider] not in available:
            print(f"{provider}: parity and speed skipped, this onnxruntime has only {', '.join(available)}")
            refused(arguments.models, provider, arguments.starts)
            preferred(arguments.models, provider)
            continue
        print(f"{provider} on {card()}")
        for folder in versions(arguments.models):
            compare(folder, provider)


def versions(models: Path) -> Iterator[Path]:
    """The newest version of every model."""
    repository = Repository(models)
    for name in repository.names():
        yield repository.folder(name, max(repository.versions(name)))


def card() -> str:
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()


# Where there is one


def compare(folder: Path, provider: Provider) -> None:
    """Parity with the CPU on many rows, and seconds a run beside onnxruntime used plainly."""
    manifest = manifests.load(folder)
    began = time.perf_counter()
    ours = Session.load(folder, manifest, Execution(provider, max_rows=max(BATCHES)))
    print(f"{manifest.name} {manifest.version}: ready in {time.perf_counter() - began:.1f} s, ran on {ours.operators}")
    reference = Session.load(folder, manifest, Execution())
    raw = onnxruntime.InferenceSession(str(folder / MODEL_FILE), providers=[NAMES[provider], NAMES["cpu"]])
    for rows in BATCHES:
        tensors = batch(manifest, rows)
        expected, found = reference.run(tensors).probabilities, ours.run(tensors).probabilities
        difference = float(np.abs(expected - found).max())
        same = bool((expected.argmax(axis=1) == found.argmax(axis=1)).all())
        assert difference <= TOLERANCE, f"{difference:.2e} apart"
        assert same, "another class"
        seconds = {
            "ours": timed(functools.partial(ours.run, tensors)),
            "raw": timed(functools.partial(raw.run, ["logits", "probabilities"], tensors)),
            "bound": timed(bound(raw, tensors)),
            "cpu": timed(functools.partial(reference.run, tensors)),
        }
        shown = ", ".join(f"{name} {value * 1e6:,.0f} us" for name, value in seconds.items())
        print(f"  {rows} rows: {difference:.1e} apart; {shown}; ours/raw {seconds['raw'] / seconds['ours']:.2f}")


def batch(manifest: manifests.Manifest, rows: int) -> dict[str, inputs.Tensor]:
    """The golden examples again and again."""
    golden = [example.instance for example in manifest.golden]
    return inputs.tensors(manifest.inputs, [golden[row % len(golden)] for row in range(rows)], pointer="golden")


def bound(session: onnxruntime.InferenceSession, tensors: dict[str, inputs.Tensor]) -> Callable[[], object]:
    """Inputs that lie on the GPU already and outputs that stay there: what the copies cost."""
    binding = session.io_binding()
    for name, tensor in tensors.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(tensor, "cuda", 0))
    for name in ("logits", "probabilities"):
        binding.bind_output(name, "cuda")
    return lambda: session.run_with_iobinding(binding)


def timed(run: Callable[[], object]) -> float:
    """Median seconds of a run."""
    for _ in range(10):
        run()
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


# Where there is none


def serve(models: Path, provider: Provider, policy: str, port: int) -> subprocess.Popen[str]:
    flags = ["--models", str(models), "--port", str(port), "--provider", provider, "--provider-policy", policy]
    command = [sys.executable, "-m", "clipmax.cli", "serve", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def refused(models: Path, provider: Provider, starts: int) -> None:
    """`require`: the start ends, soon, with the reason."""
    seconds = []
    for _ in range(starts):
        began = time.perf_counter()
        process = serve(models, provider, "require", 0)
        _, said = process.communicate(timeout=60)
        seconds.append(time.perf_counter() - began)
        assert process.returncode == 1, process.returncode
        assert f"CLIPMAX_PROVIDER: expected {provider}" in said, said
    good = sum(one < START_SECONDS for one in seconds)
    print(f"  require: {good} of {starts} starts ended in < {START_SECONDS:.0f} s with the reason (median "
          f"{np.median(seconds):.2f} s, longest {max(seconds):.2f} s)")  # fmt: skip
    assert good == starts


def preferred(models: Path, provider: Provider, port: int = 18_473) -> None:
    """`prefer`: it serves on the CPU and says `degraded`."""
    process = serve(models, provider, "prefer", port)
    try:
        status = ready(f"http://127.0.0.1:{port}/v2/health/ready")
    finally:
        process.terminate()
        process.communicate(timeout=60)
    print(f"  prefer: readiness says {status}")
    assert status == {"ready": True, "status": "degraded"}


def ready(url: str) -> Any:
    for _ in range(300):
        try:
            return httpx.get(url, timeout=2).raise_for_status().json()
        except httpx.HTTPError:
            time.sleep(0.1)
    raise TimeoutError("no readiness in 30 s")


if __name__ == "__main__":
    main()
