"""Request headers → whether the caller holds one of the accepted API keys."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clipmax.problems import Problem
from clipmax.refusal import Refusal
from service import logs, stamp

_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64}):(?P<sha256>[0-9a-f]{64})")
_BEARER = b"bearer "


@dataclass(frozen=True, slots=True)
class Keys:
    """The accepted keys as SHA-256 digests; the keys themselves are in no file of ours."""

    digests: tuple[bytes, ...]

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Lines of `name:sha256 in hexadecimal`; empty lines and lines that start with # are passed over.

        Raises:
            Refusal: the file cannot be read, a line has another form, or there is no key at all.
        """
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal(path, "file", expected="a readable file of API keys", found=type(error).__name__) from error
        digests = [_digest(path, number, line) for number, line in enumerate(lines, 1) if _holds_key(line)]
        if not digests:
            raise Refusal(path, "keys", expected="at least one line name:sha256", found="none")
        return cls(tuple(digests))

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Let the caller pass.

        Raises:
            Problem: AUTH, the same whether there was no key or a wrong one.
        """
        if not self.accept(headers):
            raise refused()

    def accept(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether `Authorization: Bearer` or `X-API-Key` holds an accepted key.

        The key is hashed first and its digest compared with every accepted one to the end, so the time taken
        tells neither how much of a guess is right nor which key it is near.
        """
        digest = hashlib.sha256(_presented(headers)).digest()
        return sum(hmac.compare_digest(digest, accepted) for accepted in self.digests) > 0


class KeyFile:
    """The file of keys, followed while the service runs.

    Attributes:
        keys: what the file held when it last could be used.
    """

    def __init__(self, path: Path) -> None:
        """Raises Refusal, see `Keys.read`."""
        self._path = path
        self._stamp = stamp.of_file(path)
        self.keys = Keys.read(path)

    def refresh(self) -> None:
        """Read the file again if it was changed; one that cannot be used is logged and changes nothing.

        So nobody is locked out by half a file. To shut everybody out, leave a key in it that nobody has.
        """
        now = stamp.of_file(self._path)
        if now == self._stamp:
            return
        self._stamp = now
        try:
            self.keys = Keys.read(self._path)
        except Refusal as reason:
            logs.write(logging.ERROR, "keys refused; the former ones stay", reason=str(reason))
        else:
            logs.write(logging.INFO, "keys read", keys=len(self.keys.digests))


def refused(detail: str = "send an accepted key as Authorization: Bearer or X-API-Key") -> Problem:
    """The one answer to a caller who is not known."""
    return Problem("AUTH", detail, headers={"WWW-Authenticate": 'Bearer realm="clipmax"'})


def _presented(headers: Mapping[bytes, bytes]) -> bytes:
    authorization = headers.get(b"authorization", b"")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return headers.get(b"x-api-key", b"")


def _holds_key(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _digest(path: Path, number: int, line: str) -> bytes:
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise Refusal(path, f"line {number}", expected="name:sha256 in lower case hexadecimal", found="another form")
    return bytes.fromhex(match["sha256"])
