"""`CLIPMAX_WORKERS` > 1: one port, several processes that serve it, and one that starts and replaces them.

The supervisor holds the listening socket and loads no model and no onnxruntime. It forks the workers, which inherit the
socket and take connections from its one queue, so what waits there is not lost with a worker; see `door` for who takes
which. Beside those that serve it keeps a spare: a process that has loaded all code and waits for the word to load the
models and serve, because under full load the code alone would take a new worker more than a second.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass
from types import FrameType
from typing import Self

from clipmax.refusal import Refusal
from service import listener, logs, settings
from service.door import Crowd
from service.settings import Settings
from service.telemetry.ledger import Ledger

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_TICK_SECONDS = 1.0
_FAILED = 1
_EARLY_SECONDS = 10.0
"""A worker that ends by itself sooner than this after its start has died early."""

_EARLY_DEATHS, _WINDOW_SECONDS = 5, 60.0
"""So many early deaths within so much time are a crash loop: whatever it is, another worker will not help."""

_OVERTIME_SECONDS = 5.0


def serve(chosen: Settings) -> int:
    """Serve with several workers until a signal says otherwise.

    Returns:
        The exit code: 0 after SIGTERM, 130 after Ctrl-C, 1 where workers keep dying.

    Raises:
        Refusal: the port is taken.
    """
    import fastapi  # noqa: F401  # half of a worker's start, and it begins no thread: forked, it is there already

    logs.configure(chosen.log_level)
    settings.warn_of_unknown(os.environ)
    with listener.bind(chosen.host, chosen.port) as listening:
        # Listening already here, so that what comes while a worker starts waits and is not turned away.
        listening.listen(listener.BACKLOG)
        return Supervisor(chosen, listening).run()


@dataclass(slots=True)
class _Worker:
    """One child process.

    Attributes:
        said: from where its word comes that it serves.
        call: to where the word goes that it shall serve, and as which page.
        began: since when it was to serve.
        page: its own in the ledger and in the crowd; none of a spare.
    """

    pid: int
    said: int
    call: int
    began: float
    page: int = -1
    is_ready: bool = False

    @property
    def was_called(self) -> bool:
        return self.page >= 0

    def close(self) -> None:
        """Our ends of its pipes."""
        os.close(self.said)
        os.close(self.call)


class Supervisor:
    """Keeps as many workers as were asked for.

    The first worker starts alone: if it cannot serve, none could, and its reason stands once in the log.
    SIGTERM and Ctrl-C are handed on and nobody is replaced any more; a second one kills.
    """

    def __init__(self, chosen: Settings, listening: socket.socket) -> None:
        self._settings = chosen
        self._listening = listening
        self._workers: dict[int, _Worker] = {}
        self._spare: _Worker | None = None
        self._ledger = Ledger(chosen.workers)
        self._crowd = Crowd(chosen.workers)
        self._early: deque[float] = deque(maxlen=_EARLY_DEATHS)
        self._has_served = False
        self._is_whole = False
        self._deadline: float | None = None
        self._door: float | None = None
        self._exit_code = 0

    def run(self) -> int:
        """Until the last worker has gone; the exit code."""
        with _Inbox() as inbox:
            self._fill()
            while self._workers or self._spare is not None:
                waiting = [worker.said for worker in self._workers.values() if not worker.is_ready]
                for number in inbox.wait(waiting, self._pause()):
                    self._end(number)
                self._note_ready()
                self._reap()
                self._fill()
                self._close_door()
                self._kill_overdue()
        logs.write(logging.INFO, "stopped", exit_code=self._exit_code)
        return self._exit_code

    def _pause(self) -> float:
        """Seconds until there is something to do without a signal."""
        return _TICK_SECONDS if self._door is None else max(0.0, min(self._door - time.monotonic(), _TICK_SECONDS))

    # Starting

    def _fill(self) -> None:
        wanted = self._settings.workers if self._has_served else 1
        while self._deadline is None and len(self._workers) < wanted:
            self._start()
        if self._deadline is None and self._is_whole and self._spare is None:
            self._spare = self._fork()

    def _start(self) -> None:
        self._is_whole = False
        worker, self._spare = self._spare or self._fork(), None
        worker.page = min(set(range(self._settings.workers)) - {one.page for one in self._workers.values()})
        worker.began = time.monotonic()
        self._workers[worker.pid] = worker
        with contextlib.suppress(BrokenPipeError):  # it has just died, which is seen in a moment
            os.write(worker.call, bytes([worker.page]))

    def _fork(self) -> _Worker:
        """A process that loads the code and waits to be called."""
        said, say = os.pipe()
        called, call = os.pipe()
        # What is sent to the child before it has forgotten the parent's ways waits for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            os.close(said)
            os.close(call)
            os._exit(self._work(called, say))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(say)
        os.close(called)
        os.set_blocking(said, False)
        return _Worker(pid, said, call, time.monotonic())

    def _work(self, called: int, say: int) -> int:
        """In the child: wait to be called, serve, and return the exit code."""
        try:
            # Ctrl-C at a terminal goes to the whole group; a worker shall hear of it once, from the supervisor.
            os.setpgid(0, 0)
            for worker in self._everyone():
                worker.close()
            _forget_signals()
            from service import server  # what is heavy is loaded here, in the child

            page = os.read(called, 1)
            if not page:  # the supervisor has gone
                return 0
            return server.run(
                self._settings,
                self._listening,
                supervisor=os.getppid(),
                on_serving=lambda: _tell(say),
                ledger=self._ledger,
                crowd=self._crowd,
                page=page[0],
            )
        except Refusal as refusal:
            print(f"clipmax: {refusal}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        except BaseException as error:  # noqa: BLE001  # nothing of the parent's may run in the child
            logs.failure("worker failed", error)
        return _FAILED

    def _everyone(self) -> list[_Worker]:
        return [*self._workers.values(), *([] if self._spare is None else [self._spare])]

    # Watching

    def _note_ready(self) -> None:
        for worker in self._workers.values():
            if not worker.is_ready and _has_told(worker.said):
                worker.is_ready = self._has_served = True
                seconds = round(time.monotonic() - worker.began, 3)
                logs.write(logging.INFO, "worker ready", worker=worker.pid, start_seconds=seconds)
        is_whole = [worker.is_ready for worker in self._workers.values()] == [True] * self._settings.workers
        if is_whole and not self._is_whole:
            self._is_whole = True
            logs.write(logging.INFO, "workers ready", workers=list(self._workers), supervisor=os.getpid())

    def _reap(self) -> None:
        for worker in self._everyone():
            done, status = os.waitpid(worker.pid, os.WNOHANG)
            if done:
                worker.close()
                self._forget(worker)
                self._note_end(worker, os.waitstatus_to_exitcode(status))

    def _forget(self, worker: _Worker) -> None:
        if worker is self._spare:
            self._spare = None
        else:
            del self._workers[worker.pid]
            self._ledger.clear_gauges(worker.page)
            self._crowd.leave(worker.page)

    def _note_end(self, worker: _Worker, code: int) -> None:
        seconds = time.monotonic() - worker.began
        is_expected = self._deadline is not None
        if is_expected and not worker.was_called:
            return
        level = logging.INFO if is_expected else logging.ERROR
        logs.write(level, "worker ended", worker=worker.pid, exit_code=code, after_seconds=round(seconds, 3))
        if is_expected:
            return
        if not self._has_served:
            self._give_up("the first worker could not serve")
        elif seconds < _EARLY_SECONDS:
            self._early.append(time.monotonic())
            if len(self._early) == _EARLY_DEATHS and self._early[-1] - self._early[0] < _WINDOW_SECONDS:
                self._give_up(f"{_EARLY_DEATHS} workers died within {_EARLY_SECONDS:g} s of their start")

    # Ending

    def _give_up(self, reason: str) -> None:
        logs.write(logging.ERROR, "giving up", reason=reason)
        self._drain(signal.SIGTERM)
        self._exit_code = _FAILED

    def _end(self, number: int) -> None:
        if self._deadline is not None:
            self._kill()
            self._exit_code = 128 + number
            return
        self._exit_code = 0 if number == signal.SIGTERM else 128 + number
        self._drain(number)

    def _drain(self, number: int) -> None:
        """Hand the signal on; nobody is replaced from now on."""
        self._door = time.monotonic() + (self._settings.drain_delay_seconds if number == signal.SIGTERM else 0.0)
        longest = self._settings.drain_delay_seconds + self._settings.drain_timeout_seconds + _OVERTIME_SECONDS
        self._deadline = time.monotonic() + longest
        logs.write(logging.INFO, "draining workers", signal=signal.Signals(number).name, workers=list(self._workers))
        for worker in self._everyone():
            os.kill(worker.pid, number if worker.was_called else signal.SIGTERM)

    def _close_door(self) -> None:
        """Once the delay is over: nobody new, and no hold of the supervisor's on what the workers leave."""
        if self._door is not None and time.monotonic() >= self._door:
            self._door = None
            listener.turn_newcomers_away(self._listening)
            self._listening.close()

    def _kill_overdue(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline and self._workers:
            logs.write(logging.ERROR, "workers did not end in time", workers=list(self._workers))
            self._kill()
            self._exit_code = _FAILED

    def _kill(self) -> None:
        for worker in self._everyone():
            os.kill(worker.pid, signal.SIGKILL)


class _Inbox:
    """Signals, in the order in which they came; those of a child's end only wake."""

    def __init__(self) -> None:
        self._caught: deque[int] = deque()
        self._wake, self._waker = os.pipe()
        for end in (self._wake, self._waker):
            os.set_blocking(end, False)

    def __enter__(self) -> Self:
        self._former_waker = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._former = {number: signal.signal(number, self._catch) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, action in self._former.items():
            signal.signal(number, action)
        signal.set_wakeup_fd(self._former_waker)
        os.close(self._wake)
        os.close(self._waker)

    def wait(self, others: list[int], seconds: float) -> list[int]:
        """Until a signal comes, another descriptor has something, or the time has passed: the signals by then."""
        select.select([self._wake, *others], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        found = []
        while self._caught:
            found.append(self._caught.popleft())
        return found

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._caught.append(number)


def _forget_signals() -> None:
    """In a child: as in a process that was just started."""
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _tell(say: int) -> None:
    os.write(say, b".")
    os.close(say)


def _has_told(said: int) -> bool:
    try:
        return os.read(said, 1) == b"."
    except BlockingIOError:
        return False
