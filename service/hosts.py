"""The Host header → whether the request was meant for this service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from clipmax.problems import Problem

PATTERN = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]")
_PORT = re.compile(rb":[0-9]{0,5}\Z")


class Hosts:
    """The names that callers may use; `*.example.com` means every name below `example.com`, not that itself.

    A page on another site can make a browser resolve its own name to our address (DNS rebinding) and so pass for
    the same origin; the Host header then still has that name.

    Args:
        names: without ports, in lower case.
    """

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [name.encode() for name in names]
        self._exact = frozenset(name for name in encoded if not name.startswith(b"*"))
        self._suffixes = tuple(name[1:] for name in encoded if name.startswith(b"*"))

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Let the request pass.

        Raises:
            Problem: HOST_UNKNOWN.
        """
        host = _PORT.sub(b"", headers.get(b"host", b"").lower())
        if host not in self._exact and not host.endswith(self._suffixes):
            raise Problem("HOST_UNKNOWN", "the Host header is not a name that this service answers to")
