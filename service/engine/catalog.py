"""The models folder → which version serves which name; every request finds its session here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from clipmax import manifest as manifests
from clipmax.problems import Problem
from clipmax.refusal import Refusal
from clipmax.repository import Repository
from service import logs
from service.engine.session import Execution, Session, check_provider


class State(StrEnum):
    """Where a version stands."""

    LOADING = "loading"
    SERVING = "serving"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one model: its session while it serves, the reason when it is refused."""

    name: str
    number: int
    state: State
    session: Session | None = None
    reason: Refusal | None = None


class Catalog:
    """Every version that was found, and the ones that serve.

    All valid versions of a model serve side by side, each under its number; the newest valid one also answers
    for the bare name. A version that fails any check is refused with its reason and the others are untouched.
    """

    def __init__(self, models: Path, execution: Execution, *, default_model: str | None = None) -> None:
        self._repository = Repository(models)
        self._execution = execution
        self._default_model = default_model
        self._versions: Mapping[str, tuple[Version, ...]] = MappingProxyType({})
        # (name, version or None for the newest) → session. Replaced as a whole, never changed in place, so a
        # request sees either the old set or the new one.
        self._serving: Mapping[tuple[str, int | None], Session] = MappingProxyType({})

    def open(self) -> None:
        """Load and check everything that is in the folder; does nothing once it is open.

        Raises:
            Refusal: a required provider is missing, nothing can be served, or the default model cannot.
        """
        if self._serving:
            return
        check_provider(self._execution)
        self._versions = MappingProxyType({name: self._load_all(name) for name in self._repository.names()})
        self._serving = MappingProxyType(_serving(self._versions))
        self._check_servable()

    @property
    def is_ready(self) -> bool:
        return bool(self._serving)

    @property
    def is_degraded(self) -> bool:
        """Whether a session runs on another provider than the one asked for."""
        return any(session.degraded for session in self._serving.values())

    @property
    def default_model(self) -> str | None:
        """The model that `POST /predict` asks: the chosen one, else the only one."""
        served = self.served_names()
        return self._default_model or (served[0] if len(served) == 1 else None)

    def served_names(self) -> list[str]:
        """Models with at least one serving version, sorted."""
        return sorted({name for name, _ in self._serving})

    def serving_versions(self, name: str) -> list[int]:
        """The numbers of a model's serving versions, ascending."""
        return sorted(number for served, number in self._serving if served == name and number is not None)

    def versions(self, name: str) -> tuple[Version, ...]:
        """Every version of a model that was found, ascending.

        Raises:
            Problem: MODEL_NOT_FOUND.
        """
        found = self._versions.get(name)
        if found is None:
            raise Problem("MODEL_NOT_FOUND", "no model of this name is served")
        return found

    def everything(self) -> list[Version]:
        """Every version of every model that was found, by name, then ascending."""
        return [version for name in sorted(self._versions) for version in self._versions[name]]

    def find(self, name: str, version: int | None = None) -> Session:
        """The session of a version, or of the newest serving version.

        Raises:
            Problem: MODEL_NOT_FOUND.
        """
        session = self._serving.get((name, version))
        if session is None:
            raise Problem("MODEL_NOT_FOUND", "no model of this name and version is served")
        return session

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

    def _load_all(self, name: str) -> tuple[Version, ...]:
        return tuple(self._load(name, number) for number in self._repository.versions(name))

    def _load(self, name: str, number: int) -> Version:
        folder = self._repository.folder(name, number)
        try:
            session = Session.load(folder, manifests.load(folder), self._execution)
        except Refusal as reason:
            return self._refused(name, number, reason)
        except Exception as error:  # noqa: BLE001  # one strange folder must not keep the others from serving
            logs.failure("version failed", error, model=name, version=number)
            found = type(error).__name__
            return self._refused(name, number, Refusal(folder, "load", expected="a version that loads", found=found))
        logs.write(logging.INFO, "version serves", model=name, version=number, provider=session.provider)
        return Version(name, number, State.SERVING, session=session)

    def _refused(self, name: str, number: int, reason: Refusal) -> Version:
        logs.write(logging.ERROR, "version refused", model=name, version=number, reason=str(reason))
        return Version(name, number, State.REFUSED, reason=reason)

    def _check_servable(self) -> None:
        if not self._serving:
            refused = [version.reason for versions in self._versions.values() for version in versions]
            found = "; ".join(str(reason) for reason in refused) or "none"
            raise Refusal(self._repository.root, "models", expected="at least one version to serve", found=found)
        if self._default_model is not None and self._default_model not in self.served_names():
            expected = f"one of {', '.join(self.served_names())}"
            raise Refusal("settings", "CLIPMAX_DEFAULT_MODEL", expected=expected, found=self._default_model)


def _serving(versions: Mapping[str, tuple[Version, ...]]) -> dict[tuple[str, int | None], Session]:
    serving: dict[tuple[str, int | None], Session] = {}
    for name, found in versions.items():
        for version in found:  # ascending, so the newest is the last to take the bare name
            if version.session is not None:
                serving[name, version.number] = serving[name, None] = version.session
    return serving
