"""What is asked of onnxruntime for each provider, and what really ran. What needs a GPU is in bench/gpu."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from clipmax import manifest as manifests
from clipmax.inputs import CategoryInput, ImageInput, TextInput
from clipmax.refusal import Refusal
from service.engine import providers
from service.engine.providers import Execution, check_available
from service.engine.session import Session
from tests import artifacts

INPUTS = (
    ImageInput(name="scan", shape=(28, 28)),
    CategoryInput(name="town", categories=("Graz", "Linz")),
    TextInput(name="note", max_length=100),
)
_BREAK = """
from service.engine.providers import Execution
from service.engine.session import Session
from clipmax import manifest
from pathlib import Path
import sys

class Broken:
    def __init__(self):
        self._sess = self
    def get_providers(self):
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]
    def run(self, *_):
        raise RuntimeError(sys.argv[2])

Session(manifest.load(Path(sys.argv[1])), Broken(), Execution("cuda")).run({})
"""


def test_a_tensorrt_engine_is_built_for_every_shape_there_may_be() -> None:
    """One profile, so that no batch size makes TensorRT build anew; a text has one code point more than is read."""
    options = providers._options("tensorrt", Execution("tensorrt", max_rows=256), INPUTS)
    assert options["trt_profile_min_shapes"] == "scan:1x28x28,town:1x1,note:1x1"
    assert options["trt_profile_opt_shapes"] == "scan:32x28x28,town:32x1,note:32x64"
    assert options["trt_profile_max_shapes"] == "scan:256x28x28,town:256x1,note:256x101"


def test_reduced_precision_is_never_asked_for(tmp_path: Path) -> None:
    """TF32 and half precision lie outside of what golden examples allow; engines are kept only where told."""
    execution = Execution("tensorrt", device=1, memory_bytes=1 << 30, cache=tmp_path)
    cuda = providers._options("cuda", execution, INPUTS)
    assert (cuda["use_tf32"], cuda["device_id"], cuda["gpu_mem_limit"]) == ("0", "1", str(1 << 30))
    tensorrt = providers._options("tensorrt", execution, INPUTS)
    assert (tensorrt["trt_fp16_enable"], tensorrt["trt_engine_cache_path"]) == ("0", str(tmp_path))
    assert "trt_engine_cache_enable" not in providers._options("tensorrt", Execution("tensorrt"), INPUTS)
    assert "gpu_mem_limit" not in providers._options("cuda", Execution("cuda"), INPUTS)


def test_what_ran_is_read_from_a_real_profile(tmp_path: Path) -> None:
    """Where the GPU is preferred and absent, the profiled warm-up says that every operator ran on the CPU."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this build of onnxruntime has it")
    folder = artifacts.publish(tmp_path)
    session = Session.load(folder, manifests.load(folder), Execution("cuda", policy="prefer"))
    assert set(session.operators) == {"cpu"}
    assert session.operators["cpu"] >= 5
    assert session.degraded


def test_an_operator_counts_once_for_the_provider_whose_kernel_ran() -> None:
    """However often it ran; other events and other threads' notes count nothing."""
    events = [
        {"cat": "Node", "name": "a_kernel_time", "args": {"provider": "CUDAExecutionProvider"}},
        {"cat": "Node", "name": "a_kernel_time", "args": {"provider": "CUDAExecutionProvider"}},
        {"cat": "Node", "name": "b_kernel_time", "args": {"provider": "CUDAExecutionProvider"}},
        {"cat": "Node", "name": "c_kernel_time", "args": {"provider": "CPUExecutionProvider"}},
        {"cat": "Node", "name": "d_fence_before", "args": {}},
        {"cat": "Session", "name": "model_run", "args": {}},
    ]
    assert providers.operators_by_provider(events) == {"cuda": 2, "cpu": 1}


def test_a_cache_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    """At the start, and not by TensorRT after minutes of building."""
    with pytest.raises(Refusal, match="CLIPMAX_PROVIDER_CACHE"):
        check_available(Execution(cache=tmp_path / "absent"))


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0", True),
        ("CUDNN failure 4: CUDNN_STATUS_INTERNAL_ERROR", True),
        ("CUDA failure 2: out of memory ; GPU=0", False),
        ("Got invalid dimensions for input: image", False),
    ],
)
def test_a_lost_gpu_ends_the_process_with_the_reason(tmp_path: Path, text: str, ends: bool) -> None:
    """Every later run would fail too, and a new process gets a new context; what passes is left to the request."""
    folder = artifacts.publish(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _BREAK, str(folder), text], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == (os.EX_SOFTWARE if ends else 1)
    assert ("worker ends" in done.stderr) is ends
