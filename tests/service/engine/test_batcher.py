"""Requests for a real session → their shares of its runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from clipmax import inputs
from clipmax import manifest as manifests
from clipmax.inputs import Tensor
from clipmax.problems import Problem
from service.answer import Share
from service.engine import batcher as batchers
from service.engine.batcher import ROWS, Batcher, Batchers
from service.engine.metering import UNMETERED
from service.engine.providers import Execution
from service.engine.session import Session
from service.engine.worker import Worker
from service.outputs import Full, Outputs
from service.reading.body import ClientGone
from tests import artifacts


class Caller:
    """Who stays, with a deadline if one is given."""

    def __init__(self, seconds: float | None = None) -> None:
        self.gone = False
        self._seconds = seconds

    def has_left(self) -> bool:
        return self.gone

    def is_alone(self) -> bool:
        return False

    def seconds_left(self) -> float | None:
        return self._seconds


class Watched(Session):
    """The real session, which notes its runs and can be told to wait or to fail."""

    sizes: list[int]
    threads: list[int]
    begun: threading.Event
    wait: threading.Event | None
    poison: float | None

    def run(self, tensors: Any) -> Outputs:
        (tensor,) = tensors.values()
        self.sizes.append(len(tensor))
        self.threads.append(threading.get_ident())
        self.begun.set()
        if self.wait is not None:
            self.wait.wait(30)
        if self.poison is not None and (tensor == self.poison).any():
            raise RuntimeError("as onnxruntime does")
        return super().run(tensors)


@pytest.fixture
def session(models: Path) -> Watched:
    folder = models / "tiny" / "1"
    loaded = Watched.__new__(Watched)
    loaded.sizes, loaded.threads, loaded.begun = [], [], threading.Event()
    loaded.wait, loaded.poison = None, None
    original = Session.load(folder, manifests.load(folder), Execution())
    loaded.__dict__.update(vars(original))
    return loaded


def image(rows: int, *, seed: int = 0) -> dict[str, Tensor]:
    return {"image": np.array(artifacts.rows(rows, seed=seed), dtype=np.float32).reshape(-1, *artifacts.SHAPE)}


def run(session: Session, scenario: Callable[[Batcher], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        worker = Worker("test")
        try:
            return await scenario(Batcher(session, worker, lambda rows, seconds: None))
        finally:
            worker.close()

    return asyncio.run(main())


def never_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every run made in the thread."""
    for name in ("INLINE_SECONDS", "INLINE_SECONDS_ON_ONE_CPU"):
        monkeypatch.setattr(batchers, name, -1.0)


def _probabilities(outputs: Outputs) -> npt.NDArray[np.float32]:
    assert isinstance(outputs, Full)
    return outputs.probabilities


def check(share: Share, session: Session, tensors: dict[str, Tensor]) -> None:
    """A share equals what the session gives for these rows alone, bit by bit."""
    expected = Session.run(session, tensors)
    assert isinstance(share.outputs, Full)
    assert isinstance(expected, Full)
    np.testing.assert_array_equal(share.outputs.logits, expected.logits)
    np.testing.assert_array_equal(share.outputs.probabilities, expected.probabilities)


def test_what_arrives_together_runs_together(session: Watched) -> None:
    """And each request gets its own rows, the same as if it had been alone."""

    async def scenario(batcher: Batcher) -> None:
        asked = [image(1 + seed % 3, seed=seed) for seed in range(20)]
        shares = await asyncio.gather(*(batcher.submit(tensors, Caller()) for tensors in asked))
        for share, tensors in zip(shares, asked, strict=True):
            check(share, session, tensors)

    run(session, scenario)
    assert session.sizes == [sum(1 + seed % 3 for seed in range(20))]


class Alone(Caller):
    """Who came when nobody else was there."""

    def is_alone(self) -> bool:
        return True


def test_who_comes_alone_is_answered_at_once(session: Watched) -> None:
    """Without a turn of the event loop; the same answer as from the queue."""

    async def scenario(batcher: Batcher) -> None:
        tensors = image(3)
        share = batcher.answer(tensors, Alone())
        assert share is not None
        check(share, session, tensors)

    run(session, scenario)
    assert session.threads == [threading.get_ident()]


def test_who_may_have_to_wait_is_not_answered_at_once(session: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others came too, a deadline is set, the rows are too many, something waits, or the run would be long."""

    async def scenario(batcher: Batcher) -> None:
        assert batcher.answer(image(1), Caller()) is None
        assert batcher.answer(image(1), Alone(seconds=5.0)) is None
        assert batcher.answer(image(ROWS + 1), Alone()) is None
        waiting = batcher.submit(image(1), Caller())
        assert batcher.answer(image(1), Alone()) is None
        await waiting

    run(session, scenario)
    never_inline(monkeypatch)

    async def long(batcher: Batcher) -> None:
        assert batcher.answer(image(1), Alone()) is None

    run(session, long)
    assert session.sizes == [1]


def test_a_run_that_fails_at_once_is_the_caller_s(session: Watched) -> None:
    """And the next one is answered."""
    session.poison = 1.0

    async def scenario(batcher: Batcher) -> None:
        with pytest.raises(RuntimeError):
            batcher.answer({"image": np.ones((1, *artifacts.SHAPE), dtype=np.float32)}, Alone())
        assert batcher.answer({"image": np.zeros((1, *artifacts.SHAPE), dtype=np.float32)}, Alone()) is not None

    run(session, scenario)


def test_a_long_request_takes_several_runs_and_small_ones_go_in_between(session: Watched) -> None:
    """Its answer is in one piece and in order."""

    async def scenario(batcher: Batcher) -> list[str]:
        done: list[str] = []
        long, small = image(3 * ROWS + 5), image(2, seed=1)
        waiting = [batcher.submit(long, Caller()), batcher.submit(small, Caller())]
        waiting[0].add_done_callback(lambda _: done.append("long"))
        waiting[1].add_done_callback(lambda _: done.append("small"))
        shares = await asyncio.gather(*waiting)
        check(shares[0], session, long)
        check(shares[1], session, small)
        return done

    assert run(session, scenario) == ["small", "long"]
    assert session.sizes == [ROWS, ROWS, ROWS, 7]


def test_a_long_run_leaves_the_event_loop(session: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives meanwhile is the next run; who left or gave up meanwhile is in none."""
    never_inline(monkeypatch)
    session.wait = threading.Event()
    gone = Caller()

    async def scenario(batcher: Batcher) -> None:
        first = batcher.submit(image(1), Caller())
        await asyncio.to_thread(session.begun.wait, 30)
        late = [batcher.submit(image(2), Caller()) for _ in range(3)]
        left, cancelled = batcher.submit(image(4), gone), batcher.submit(image(8), Caller())
        gone.gone = True
        cancelled.cancel()
        assert session.wait is not None
        session.wait.set()
        await asyncio.gather(first, *late)
        with pytest.raises(ClientGone):
            await left

    run(session, scenario)
    assert session.sizes == [1, 6]
    assert threading.get_ident() not in session.threads


def test_a_deadline_ends_the_waiting(session: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """On time, also while a run goes on, and the rows that nobody wants are not run."""
    never_inline(monkeypatch)
    session.wait = threading.Event()

    async def scenario(batcher: Batcher) -> None:
        first = batcher.submit(image(1), Caller())
        await asyncio.to_thread(session.begun.wait, 30)
        with pytest.raises(Problem, match="DEADLINE"):
            await batcher.submit(image(2), Caller(seconds=0.01))
        assert session.wait is not None
        session.wait.set()
        await first

    run(session, scenario)
    assert session.sizes == [1]


def test_a_run_that_fails_costs_only_the_guilty_request(session: Watched) -> None:
    """The others are run again, each by itself."""
    session.poison = 7731.0
    bad = {"image": np.full((1, *artifacts.SHAPE), 7731, dtype=np.float32)}

    async def scenario(batcher: Batcher) -> None:
        good = [image(2, seed=seed) for seed in range(3)]
        waiting = [batcher.submit(tensors, Caller()) for tensors in (good[0], bad, good[1], good[2])]
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(found.pop(1), RuntimeError)
        for share, tensors in zip(found, good, strict=True):
            assert isinstance(share, Share)
            check(share, session, tensors)

    run(session, scenario)


def test_a_session_that_goes_takes_its_batcher_along(models: Path) -> None:
    """A batcher must not keep the memory of a version that was replaced."""
    folder = models / "tiny" / "1"
    worker = Worker("test")
    found = Batchers(worker, lambda rows, seconds: None, lambda session: UNMETERED)
    session = Session.load(folder, manifests.load(folder), Execution())
    assert found.of(session) is found.of(session)
    assert len(found._batchers) == 1
    del session
    assert len(found._batchers) == 0
    worker.close()


def test_texts_of_all_lengths_come_back_in_their_order(tmp_path: Path) -> None:
    """A request longer than a run is sorted by length for its runs, and each text is answered as if it were alone."""
    folder = artifacts.publish_text(tmp_path)
    session = Session.load(folder, manifests.load(folder), Execution())
    (schema,) = session.manifest.inputs

    def tensors(texts: list[str]) -> dict[str, Tensor]:
        return inputs.tensors(session.manifest.inputs, texts)

    async def scenario(batcher: Batcher) -> None:
        asked = [["abc"[: 1 + row % 3] * (1 + row * 7 % 50) for row in range(count)] for count in (1, 400, 2, 30)]
        shares = await asyncio.gather(*(batcher.submit(tensors(texts), Caller()) for texts in asked))
        for share, texts in zip(shares, asked, strict=True):
            alone = [_probabilities(Session.run(session, tensors([text])))[0] for text in texts]
            np.testing.assert_allclose(_probabilities(share.outputs), alone, rtol=0, atol=1e-6)
            truncated = [bool(schema.truncated(tensors([text])[schema.name])[0]) for text in texts]
            assert share.remarks["truncated", schema.name].tolist() == truncated

    run(session, scenario)
