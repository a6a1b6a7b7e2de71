"""The execution provider that was asked for → what onnxruntime is told, and what of it really runs.

onnxruntime falls back to the CPU in silence, for a whole session (a library is missing) or for single operators. So
what was obtained is compared with what was asked, and a profiled run says where each operator ran.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnxruntime

from clipmax.inputs import HistoryInput, Input, TextInput
from clipmax.refusal import Refusal

Provider = Literal["cpu", "cuda", "tensorrt"]
Policy = Literal["require", "prefer"]

_CPU = "CPUExecutionProvider"
NAMES: Mapping[Provider, str] = {"cpu": _CPU, "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
# Where the first cannot run an operator, the next one does; onnxruntime always ends with the CPU.
_CHAINS: Mapping[Provider, tuple[Provider, ...]] = {
    "cpu": ("cpu",),
    "cuda": ("cuda", "cpu"),
    "tensorrt": ("tensorrt", "cuda", "cpu"),
}
TYPICAL_ROWS, TYPICAL_LENGTH = 32, 64
"""The shape that TensorRT tunes an engine for: rows, and code points of a text."""

_STICKY = ("CUDA failure", "CUDNN failure", "CUBLAS failure", "CUDA error")
_PASSING = ("out of memory", "CUDA failure 2:", "CUBLAS_STATUS_ALLOC_FAILED")


@dataclass(frozen=True, slots=True)
class Execution:
    """What a session is asked to run on.

    Attributes:
        threads: of one run on the CPU.
        device: number of the GPU.
        memory_bytes: most memory of the GPU that one session's arena takes; 0 for any.
        cache: a writable folder for TensorRT's engines, which take seconds to minutes to build; None: built at
            each start.
        max_rows: most rows of one run, the largest shape that a TensorRT engine is built for.
    """

    provider: Provider = "cpu"
    policy: Policy = "require"
    threads: int = 1
    device: int = 0
    memory_bytes: int = 0
    cache: Path | None = None
    max_rows: int = 256


def check_available(execution: Execution) -> None:
    """Refuse at once what no version could get, so that the reason is given once and not for each of them.

    Raises:
        Refusal: the provider is required and this build of onnxruntime does not have it, or the cache is no folder.
    """
    if execution.policy == "require" and NAMES[execution.provider] not in onnxruntime.get_available_providers():
        raise missing(execution.provider, "cpu")
    if execution.cache is not None and not execution.cache.is_dir():
        raise Refusal("settings", "CLIPMAX_PROVIDER_CACHE", expected="an existing folder", found="none")


def missing(asked: Provider, got: Provider) -> Refusal:
    """The refusal of a session on another provider than the one that is required."""
    return Refusal("settings", "CLIPMAX_PROVIDER", expected=f"{asked} ({NAMES[asked]})", found=f"only {NAMES[got]}")


def requested(execution: Execution, inputs: Sequence[Input]) -> list[tuple[str, dict[str, str]]]:
    """Name and options of each provider for `InferenceSession`, in order; those this build lacks are left out."""
    available = onnxruntime.get_available_providers()
    return [
        (NAMES[provider], _options(provider, execution, inputs))
        for provider in _CHAINS[execution.provider]
        if NAMES[provider] in available
    ]


def obtained(session: onnxruntime.InferenceSession) -> Provider:
    """The first provider of a session, which is another than asked for where that could not start."""
    first = session.get_providers()[0]
    return next(provider for provider, name in NAMES.items() if name == first)


@contextmanager
def profiled(
    options: onnxruntime.SessionOptions, execution: Execution
) -> Iterator[Callable[[onnxruntime.InferenceSession], dict[Provider, int]]]:
    """Let a session that is made with `options` write down where each operator runs.

    Yields:
        A function to call after the warm-up: how many operators ran on which provider. From then on nothing is
        written. On the CPU, where there is no choice, nothing is written at all and the answer is empty.

    Raises:
        Refusal: nothing can be written anywhere, as in a container without a `/tmp`.
    """
    if execution.provider == "cpu":
        yield lambda _: {}
        return
    with _folder() as folder:
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/warm-up"
        yield lambda session: operators_by_provider(json.loads(Path(session.end_profiling()).read_bytes()))


def operators_by_provider(events: Sequence[Mapping[str, object]]) -> dict[Provider, int]:
    """Events of onnxruntime's profile → operators by the provider whose kernel ran, most first.

    An operator counts once however often it ran; one that TensorRT took over is inside a node of TensorRT's.
    """
    words = {name: provider for provider, name in NAMES.items()}
    ran = {
        (str(event["name"]), words[str(arguments["provider"])])
        for event in events
        if event.get("cat") == "Node"
        and isinstance(arguments := event.get("args"), dict)
        and arguments.get("provider") in words
    }
    return dict(Counter(provider for _, provider in ran).most_common())


def is_sticky(error: BaseException) -> bool:
    """Whether a failed run leaves the process's CUDA context useless, so that every later run would fail too.

    CUDA documents errors such as 700 (illegal address) as such; a lack of memory passes.
    """
    text = str(error)
    return any(words in text for words in _STICKY) and not any(words in text for words in _PASSING)


def _folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="clipmax-profile-")
    except OSError as error:
        found = error.strerror or "an error"
        raise Refusal("settings", "TMPDIR", expected="a writable folder for the warm-up", found=found) from error


def _options(provider: Provider, execution: Execution, inputs: Sequence[Input]) -> dict[str, str]:
    make: Mapping[Provider, Callable[[Execution, Sequence[Input]], dict[str, str]]] = {
        "cpu": lambda *_: {},
        "cuda": _cuda,
        "tensorrt": _tensorrt,
    }
    return make[provider](execution, inputs)


def _cuda(execution: Execution, _inputs: Sequence[Input]) -> dict[str, str]:
    options = {
        "device_id": str(execution.device),
        # TF32 keeps 10 bits of a factor's mantissa: about 1e-3, a hundred times what golden examples allow.
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
    }
    if execution.memory_bytes:
        options["gpu_mem_limit"] = str(execution.memory_bytes)
    return options


def _tensorrt(execution: Execution, inputs: Sequence[Input]) -> dict[str, str]:
    """One engine for all shapes there may be; without a profile TensorRT builds anew at each new batch size."""
    options = {
        "device_id": str(execution.device),
        "trt_fp16_enable": "0",
        "trt_profile_min_shapes": _shapes(inputs, rows=1, length=1),
        "trt_profile_opt_shapes": _shapes(inputs, rows=min(TYPICAL_ROWS, execution.max_rows), length=TYPICAL_LENGTH),
        "trt_profile_max_shapes": _shapes(inputs, rows=execution.max_rows, length=None),
    }
    if execution.cache is not None:
        cache = str(execution.cache)
        options |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": cache,
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": cache,
        }
    return options


def _shapes(inputs: Sequence[Input], *, rows: int, length: int | None) -> str:
    """`name:32x784,…`; the free axis of a text or history gets `length`, or the most that the model reads."""

    def sizes(schema: Input) -> list[int]:
        longest = schema.max_length + 1 if isinstance(schema, TextInput | HistoryInput) else 1
        free = longest if length is None else min(length, longest)
        return [rows, *(free if size == -1 else size for size in schema.shape)]

    return ",".join(f"{schema.name}:{'x'.join(map(str, sizes(schema)))}" for schema in inputs)
