"""A verified version's folder → an onnxruntime session whose answers equal the golden examples."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import onnxruntime

from clipmax import inputs
from clipmax.manifest import DATA_FILE, LOG_PARTITION, MODEL_FILE, TOP_INDICES, Manifest
from clipmax.novelty import OUTPUT as NOVELTY
from clipmax.problems import Problem
from clipmax.refusal import Refusal
from clipmax.repository import read_verified, verify_files
from service import logs
from service.engine import golden, graph, providers
from service.engine.metering import Meter
from service.engine.providers import Execution, Provider
from service.outputs import Full, Outputs, Top

# onnxruntime's words for the dtypes of the manifest.
_TYPES: Mapping[str, str] = {"float32": "tensor(float)", "int32": "tensor(int32)"}

_DATA_FOLDER = "session.model_external_initializers_file_folder_path"


class Session:
    """One version, loaded and proved. `run` may be called from any thread.

    Attributes:
        manifest: the words that belong to the graph.
        provider: the execution provider that runs, which may be another than asked for under `prefer`.
        asked: the execution provider that was asked for.
        operators: how many ran on which provider in the warm-up; empty on the CPU, where there is no choice.
        meter: where its runs and answers are counted, once it has one.
    """

    def __init__(self, manifest: Manifest, session: onnxruntime.InferenceSession, execution: Execution) -> None:
        self.manifest = manifest
        self.provider = providers.obtained(session)
        self.operators: Mapping[Provider, int] = {}
        self.asked = execution.provider
        self.meter: Meter | None = None
        # `InferenceSession.run` looks over names and values of its inputs in Python, which for one row takes a fifth
        # of its time; names and dtypes are checked when a version is loaded.
        self._run = session._sess.run  # noqa: SLF001  # there is no other way to it
        self._names, self._kind = list(manifest.outputs), Top if manifest.is_top else Full

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, execution: Execution) -> Session:
        """Hashes, graph, provider, signature, golden examples, in this order.

        Raises:
            Refusal: with file, field, expected and found, at the first thing that is wrong.
        """
        path = folder / MODEL_FILE
        verify_files(folder, manifest)
        content = read_verified(folder, manifest, MODEL_FILE)
        graph.check(content, where=path, data=manifest.files.get(DATA_FILE))
        options = _options(execution)
        if DATA_FILE in manifest.files:
            options.add_session_config_entry(_DATA_FOLDER, str(folder.resolve()))
        with providers.profiled(options, execution) as operators:
            created = _create(content, options, manifest, execution, path)
            session = cls(manifest, created, execution)
            _check_provider(session, execution)
            _check_signature(created, manifest, path)
            _check_golden(session, path)
            session.operators = operators(created)
        _check_provider(session, execution)
        return session

    @property
    def degraded(self) -> bool:
        """Whether what was asked for runs nothing."""
        return self.provider != self.asked or (bool(self.operators) and self.asked not in self.operators)

    def run(self, tensors: Mapping[str, inputs.Tensor]) -> Outputs:
        """Input tensors by name, [N, …] each → outputs of the same N rows."""
        try:
            found = self._run(self._names, dict(tensors), None)
        except Exception as error:  # onnxruntime raises a class of its own for each status, all directly Exceptions
            if providers.is_sticky(error):
                _leave(self, error)
            raise
        return self._kind(**dict(zip(self._names, found, strict=True)))


def _leave(session: Session, error: Exception) -> NoReturn:
    """End the process at once: its CUDA context is lost, and whoever asks it next gets a failure too."""
    name, version = session.manifest.name, session.manifest.version
    logs.write(logging.CRITICAL, "worker ends: the GPU is lost to it", model=name, version=version, reason=str(error))
    os._exit(os.EX_SOFTWARE)


def _check_provider(session: Session, execution: Execution) -> None:
    if session.degraded and execution.policy == "require":
        raise providers.missing(execution.provider, session.provider)


def _create(
    content: bytes, options: onnxruntime.SessionOptions, manifest: Manifest, execution: Execution, path: Path
) -> onnxruntime.InferenceSession:
    """A session from bytes: no path is known to it but, where the manifest lists weights in a file of their own, the
    version's folder, and `graph.check` has seen that only that file is named.
    """
    chain = providers.requested(execution, manifest.inputs)
    try:
        with warnings.catch_warnings():
            # A provider that is there but cannot start is a warning and a silent fallback; we compare afterwards.
            warnings.simplefilter("ignore")
            session = onnxruntime.InferenceSession(content, options, providers=chain)
    except Exception as error:  # onnxruntime raises a class of its own for each status, all directly Exceptions
        raise Refusal(path, "graph", expected="a model that onnxruntime loads", found=type(error).__name__) from error
    session.disable_fallback()
    return session


def _options(execution: Execution) -> onnxruntime.SessionOptions:
    """One pool of `threads`, asleep between runs.

    By default onnxruntime's threads spin for a while after each operator. Beside an event loop, or a second
    version's pool, on the same CPUs they then take the time that reading the next request needs. An MLP is a
    chain of operators, so running several at once (`inter_op`) has nothing to offer.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = execution.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what matters of it becomes a refusal; its own lines are not JSON
    return options


def _check_signature(session: onnxruntime.InferenceSession, manifest: Manifest, path: Path) -> None:
    """Names, types and shapes of the graph are those that the manifest promises; only N and a -1 are free."""
    expected_inputs = {one.name: (_TYPES[one.dtype], tuple(one.shape)) for one in manifest.inputs}
    expected_outputs = {str(name): (_type(name), _row(name, manifest)) for name in manifest.outputs}
    _check_arguments("inputs", session.get_inputs(), expected_inputs, path)
    _check_arguments("outputs", session.get_outputs(), expected_outputs, path)


def _row(output: str, manifest: Manifest) -> tuple[int, ...]:
    """The shape of a row's part of an output."""
    return () if output in {NOVELTY, LOG_PARTITION} else (manifest.answered,)


def _type(output: str) -> str:
    return "tensor(int64)" if output == TOP_INDICES else "tensor(float)"


def _check_arguments(
    field: str,
    arguments: Sequence[onnxruntime.NodeArg],
    expected: Mapping[str, tuple[str, tuple[int, ...]]],
    path: Path,
) -> None:
    found = {argument.name: argument for argument in arguments}
    if set(found) != set(expected):
        raise Refusal(path, field, expected=", ".join(sorted(expected)), found=", ".join(sorted(found)))
    for name, (dtype, shape) in expected.items():
        argument = found[name]
        if argument.type != dtype:
            raise Refusal(path, f"{field}.{name}.type", expected=dtype, found=argument.type)
        if [_size(size) for size in argument.shape] != [-1, *shape]:
            raise Refusal(path, f"{field}.{name}.shape", expected=f"[{_text(shape)}]", found=f"{argument.shape}")


def _size(dimension: int | str | None) -> int:
    """A dimension of the graph: its size, or -1 where it is free (onnxruntime gives its name or None)."""
    return dimension if isinstance(dimension, int) else -1


def _text(shape: tuple[int, ...]) -> str:
    return ", ".join(["N", *map(str, shape)])


def _check_golden(session: Session, path: Path) -> None:
    """Every golden example through the session that will serve, which also warms it up."""
    manifest = session.manifest
    instances = [example.instance for example in manifest.golden]
    try:
        tensors = inputs.tensors(manifest.inputs, instances, pointer="golden")
    except Problem as problem:
        field = problem.pointer or "golden"
        raise Refusal(path, field, expected="instances that the inputs take", found=problem.detail) from problem
    try:
        outputs = session.run(tensors)
    except Exception as error:  # as in _create
        raise Refusal(path, "golden", expected="examples that run", found=type(error).__name__) from error
    golden.check(outputs, manifest, path)
