"""One model's folder → its versions in memory: loaded beside what serves, switched, drained.

Everything here is called by one thread at a time, which is not the one that serves. What it has come to is handed
over as `Content`, which never changes.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from clipmax import manifest as manifests
from clipmax.refusal import Refusal
from clipmax.repository import Repository
from service import logs, stamp
from service.engine import aliases
from service.engine.policy import Rule
from service.engine.providers import Execution
from service.engine.session import Session
from service.stamp import Stamp


class State(StrEnum):
    """Where a version stands."""

    LOADING = "loading"
    SERVING = "serving"
    DRAINING = "draining"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one model: its session while it serves, the reason when it is refused.

    A version that serves has a reason too where its folder was changed and what lies there now is refused.
    """

    name: str
    number: int
    state: State
    session: Session | None = None
    reason: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What a model has at one moment.

    Attributes:
        versions: ascending, those that drain last.
        sessions: by number, by alias, and under None what answers where no version is named.
        aliases: those in force, with their versions.
    """

    versions: tuple[Version, ...] = ()
    sessions: Mapping[int | str | None, Session] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Record:
    """A version and the state of its folder: when it was tried, and at the last look."""

    version: Version
    tried: Stamp | None
    seen: Stamp | None


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A session that nothing new is sent to; it is gone when the last request that uses it lets go of it."""

    version: Version
    session: weakref.ref[Session]
    since: float


class Shelf:
    """The versions of one model.

    Args:
        repository: the models folder.
        name: of the model.
        rule: which versions are to serve.
        execution: what sessions are to run on.
        publish: called whenever `content` was replaced.
    """

    def __init__(
        self, repository: Repository, name: str, rule: Rule, execution: Execution, publish: Callable[[], None]
    ) -> None:
        self.name = name
        self.content = Content()
        self._repository = repository
        self._rule = rule
        self._execution = execution
        self._publish = publish
        self._records: dict[int, _Record] = {}
        self._leaving: list[_Leaving] = []
        self._aliases_path = repository.root / name / aliases.FILE
        self._aliases_stamp: Stamp | None = None
        self._asked: Mapping[str, int] = {}
        self._waiting: dict[str, int] = {}

    def look(self) -> None:
        """Bring what serves in line with folder, rule and aliases; whatever fails leaves the rest as it is."""
        found = self._repository.versions(self.name)
        self._read_aliases()
        picked = self._picked(found)
        named = self._named(found)
        self._keep({*picked, *named.values()}, found)
        self._forget_gone()
        self._replace_content(picked, named)

    # Which versions

    def _picked(self, found: Sequence[int]) -> list[int]:
        """The versions that the rule wants, newest first; a refused one is passed over for an older one."""
        picked: list[int] = []
        for number in self._rule.candidates(found):
            if self._rule.count is not None and len(picked) == self._rule.count:
                break
            if self._serves(number):
                picked.append(number)
        return picked

    def _named(self, found: Sequence[int]) -> dict[str, int]:
        """The aliases in force: one whose version does not serve stays where it was, if that is still there."""
        named: dict[str, int] = {}
        waiting: dict[str, int] = {}
        for alias, number in self._asked.items():
            if number in found and self._serves(number):
                named[alias] = number
                continue
            waiting[alias] = number
            last = self.content.aliases.get(alias)
            if last is not None and last in found and self._serves(last):
                named[alias] = last
        self._note_aliases(named, waiting)
        return named

    def _read_aliases(self) -> None:
        found = stamp.of_file(self._aliases_path)
        if found == self._aliases_stamp:
            return
        self._aliases_stamp = found
        try:
            self._asked = aliases.read(self._aliases_path)
        except Refusal as reason:
            logs.write(logging.ERROR, "aliases refused", model=self.name, reason=str(reason))

    def _note_aliases(self, named: Mapping[str, int], waiting: dict[str, int]) -> None:
        for alias, number in named.items():
            if self.content.aliases.get(alias) != number:
                logs.write(logging.INFO, "alias names", model=self.name, alias=alias, version=number)
        if waiting != self._waiting:
            self._waiting = waiting
            for alias, number in waiting.items():
                logs.write(
                    logging.WARNING, "alias names no serving version", model=self.name, alias=alias, version=number
                )

    # Loading

    def _serves(self, number: int) -> bool:
        """Whether a version serves, after it was tried if its folder is new or was changed.

        A folder that was tried before is left alone until it has been the same for two looks, so that one which is
        still being copied is not read again and again.
        """
        now = stamp.of_folder(self._repository.folder(self.name, number))
        record = self._records.get(number)
        if record is None:
            record = self._records[number] = _Record(Version(self.name, number, State.LOADING), now, now)
            self._show_loading()
            record.version = self._load(number)
        elif record.tried != now == record.seen:
            record.tried = now
            self._renew(record)
        record.seen = now
        return record.version.state is State.SERVING

    def _renew(self, record: _Record) -> None:
        """Try a changed folder; a version that serves goes on as it is unless something good lies there now."""
        old, new = record.version, self._load(record.version.number)
        if old.session is None:
            record.version = new
        elif new.session is None:
            record.version = replace(old, reason=new.reason)
        elif new.session.manifest.seal == old.session.manifest.seal:
            record.version = replace(old, reason=None)
        else:
            record.version = new
            self._let_go(old)

    def _load(self, number: int) -> Version:
        folder = self._repository.folder(self.name, number)
        began = time.monotonic()
        try:
            session = Session.load(folder, manifests.load(folder), self._execution)
        except Refusal as reason:
            return self._refused(number, reason)
        except Exception as error:  # noqa: BLE001  # one strange folder must not keep the others from serving
            logs.failure("version failed", error, model=self.name, version=number)
            found = type(error).__name__
            return self._refused(number, Refusal(folder, "load", expected="a version that loads", found=found))
        seconds = round(time.monotonic() - began, 3)
        logs.write(
            logging.INFO,
            "version serves",
            model=self.name,
            version=number,
            provider=session.provider,
            load_seconds=seconds,
        )
        return Version(self.name, number, State.SERVING, session=session)

    def _refused(self, number: int, reason: Refusal) -> Version:
        logs.write(logging.ERROR, "version refused", model=self.name, version=number, reason=str(reason))
        # A new one, because that which was raised holds by its traceback everything that had been loaded.
        kept = Refusal(reason.where, reason.field, expected=reason.expected, found=reason.found)
        return Version(self.name, number, State.REFUSED, reason=kept)

    # Leaving

    def _keep(self, wanted: set[int], found: Sequence[int]) -> None:
        """Let go of versions that serve without being wanted, and forget refused ones that are not there."""
        for number, record in list(self._records.items()):
            version = record.version
            if number in wanted or (version.session is None and number in found):
                continue
            del self._records[number]
            if version.session is not None:
                self._let_go(version)

    def _let_go(self, version: Version) -> None:
        assert version.session is not None  # noqa: S101  # it served
        logs.write(logging.INFO, "version drains", model=self.name, version=version.number)
        shown = Version(self.name, version.number, State.DRAINING)
        self._leaving.append(_Leaving(shown, weakref.ref(version.session), time.monotonic()))

    def _forget_gone(self) -> None:
        gone = [one for one in self._leaving if one.session() is None]
        self._leaving = [one for one in self._leaving if one not in gone]
        for one in gone:
            seconds = round(time.monotonic() - one.since, 3)
            logs.write(logging.INFO, "version gone", model=self.name, version=one.version.number, drain_seconds=seconds)

    # Handing over

    def _versions(self) -> Iterator[Version]:
        for number in sorted(self._records):
            yield self._records[number].version
        for one in self._leaving:
            yield one.version

    def _show_loading(self) -> None:
        """What serves is untouched."""
        self.content = replace(self.content, versions=tuple(self._versions()))
        self._publish()

    def _replace_content(self, picked: Sequence[int], named: Mapping[str, int]) -> None:
        sessions: dict[int | str | None, Session] = {}
        for number, record in self._records.items():
            if record.version.session is not None:
                sessions[number] = record.version.session
        sessions |= {alias: sessions[number] for alias, number in named.items()}
        bare = named.get(aliases.BARE, max(picked, default=None))
        if bare is not None:
            sessions[None] = sessions[bare]
        new = Content(tuple(self._versions()), MappingProxyType(sessions), MappingProxyType(dict(named)))
        if new != self.content:
            self.content = new
            self._publish()
