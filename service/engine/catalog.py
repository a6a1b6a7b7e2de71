"""The models folder → which version serves which name; every request finds its session here.

`open` loads what is there, `refresh` follows the folder. Both run in a thread beside the serving one or before it, and
each change replaces one frozen snapshot, so a request sees the old set or the new one and nothing in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from clipmax.problems import Problem
from clipmax.refusal import Refusal
from clipmax.repository import Repository, read_verified
from service import logs
from service.engine.policy import Policy
from service.engine.providers import Execution, check_available
from service.engine.session import Session
from service.engine.shelf import Content, Shelf, State, Version

__all__ = ["Catalog", "State", "Version"]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """All models at one moment; `sessions` by name and number, alias or None, `names` those that answer by name."""

    contents: Mapping[str, Content] = field(default_factory=dict)
    sessions: Mapping[tuple[str, int | str | None], Session] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, shelves: Mapping[str, Shelf]) -> _Snapshot:
        contents = {name: shelf.content for name, shelf in shelves.items() if shelf.content.versions}
        sessions = {
            (name, address): session
            for name, content in contents.items()
            for address, session in content.sessions.items()
        }
        names = tuple(sorted(name for name, address in sessions if address is None))
        return cls(MappingProxyType(contents), MappingProxyType(sessions), names)


class Catalog:
    """Every version that was found, and the ones that serve.

    The policy and the aliases say which valid versions of a model serve, each under its number and its aliases; the
    newest that the policy wants, or the one with the alias `default`, answers for the bare name. A version that fails
    any check is refused with its reason and the others are untouched.

    Attributes:
        on_change: called, by the thread that refreshes, after each change.
    """

    def __init__(
        self,
        models: Path,
        execution: Execution,
        *,
        default_model: str | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.on_change: Callable[[], object] = lambda: None
        self._repository = Repository(models)
        self._execution = execution
        self._default_model = default_model
        self._policy = policy or Policy()
        self._shelves: dict[str, Shelf] = {}
        self._snapshot = _Snapshot()
        self._trouble = ""

    def open(self) -> None:
        """Load and check what the policy wants of the folder; does nothing once it is open.

        Raises:
            Refusal: a required provider is missing, nothing can be served, or the default model cannot.
        """
        if self.is_ready:
            return
        check_available(self._execution)
        self._look(self._repository.names())
        self._check_servable()

    def refresh(self) -> None:
        """Follow the folder: load what is new, let go of what is gone or no longer wanted.

        A models folder that cannot be read, or in which there is no version at all, is taken for a volume that is not
        there at present: what serves stays.
        """
        try:
            names = self._repository.names()
            self._note_trouble("" if names else "no version in it")
            if names:
                self._look(names)
        except OSError as error:
            self._note_trouble(error.strerror or type(error).__name__)

    @property
    def is_ready(self) -> bool:
        return bool(self._snapshot.sessions)

    @property
    def is_degraded(self) -> bool:
        """Whether a session runs on another provider than the one asked for."""
        return any(session.degraded for session in self._snapshot.sessions.values())

    @property
    def default_model(self) -> str | None:
        """The model that `POST /predict` asks: the chosen one, else the only one."""
        names = self._snapshot.names
        return self._default_model or (names[0] if len(names) == 1 else None)

    def served_names(self) -> list[str]:
        """Models with a version that answers for the bare name, sorted."""
        return list(self._snapshot.names)

    def serving_versions(self, name: str) -> list[int]:
        """The numbers of a model's serving versions, ascending."""
        return sorted(address for address in self._addresses(name) if isinstance(address, int))

    def addresses(self, name: str) -> list[int | str]:
        """What may stand for a version of a model in a path at present: numbers and aliases."""
        return [address for address in self._addresses(name) if address is not None]

    def aliases(self, name: str) -> dict[str, int]:
        """The aliases of a model that are in force, with their versions."""
        content = self._snapshot.contents.get(name)
        return {} if content is None else dict(content.aliases)

    def versions(self, name: str) -> tuple[Version, ...]:
        """Every version of a model that is known, ascending; those that drain last.

        Raises:
            Problem: MODEL_NOT_FOUND.
        """
        found = self._snapshot.contents.get(name)
        if found is None:
            raise Problem("MODEL_NOT_FOUND", "no model of this name is served")
        return found.versions

    def everything(self) -> list[Version]:
        """Every version of every model that is known, by name, then as `versions`."""
        contents = self._snapshot.contents
        return [version for name in sorted(contents) for version in contents[name].versions]

    def find(self, name: str, version: int | str | None = None) -> Session:
        """The session of a version, by number or alias, or of what answers where none is named.

        Raises:
            Problem: MODEL_NOT_FOUND.
        """
        session = self._snapshot.sessions.get((name, version))
        if session is None:
            raise Problem("MODEL_NOT_FOUND", "no model of this name and version is served")
        return session

    def read(self, session: Session, file: str) -> bytes:
        """A file of a version that serves, exactly as it was published.

        Raises:
            Problem: PATH_NOT_FOUND where the version has none of this name, or it is no longer what was published.
        """
        manifest = session.manifest
        try:
            return read_verified(self._repository.folder(manifest.name, manifest.version), manifest, file)
        except (KeyError, Refusal) as error:
            raise Problem("PATH_NOT_FOUND", "the version has no such file") from error

    def find_default(self) -> Session:
        """The session behind `POST /predict`.

        Raises:
            Problem: MODEL_NOT_FOUND where several models serve and none was chosen.
        """
        name = self.default_model
        if name is None:
            detail = "several models are served and none is the default; name one as /v1/models/{name}:predict"
            raise Problem("MODEL_NOT_FOUND", detail)
        return self.find(name)

    def _addresses(self, name: str) -> list[int | str | None]:
        content = self._snapshot.contents.get(name)
        return [] if content is None else list(content.sessions)

    def _look(self, names: list[str]) -> None:
        for name in sorted({*names, *self._shelves}):
            if name not in self._shelves:
                rule = self._policy.of(name)
                self._shelves[name] = Shelf(self._repository, name, rule, self._execution, self._publish)
            self._shelves[name].look()

    def _publish(self) -> None:
        self._snapshot = _Snapshot.of(self._shelves)
        self.on_change()

    def _note_trouble(self, trouble: str) -> None:
        """Say it once, not at every look."""
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble:
                logs.write(logging.ERROR, "models folder gives nothing; what serves stays", reason=trouble)

    def _check_servable(self) -> None:
        if not self._snapshot.names:
            refused = [version.reason for version in self.everything() if version.reason is not None]
            found = "; ".join(str(reason) for reason in refused) or "none"
            raise Refusal(self._repository.root, "models", expected="at least one version to serve", found=found)
        if self._default_model is not None and self._default_model not in self._snapshot.names:
            expected = f"one of {', '.join(self._snapshot.names)}"
            raise Refusal("settings", "CLIPMAX_DEFAULT_MODEL", expected=expected, found=self._default_model)
