"""Certificate and key files → the TLS context of the service, which follows them."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from clipmax.refusal import Refusal
from service import logs, stamp


class Certificate:
    """A certificate chain with its key, both PEM.

    Attributes:
        context: TLS 1.2 and 1.3; connections that are made after a change of the files get the new certificate.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises Refusal: a file cannot be read, or they are no pair."""
        self._files = (certificate, key)
        self._stamp = self._now()
        self.context = _loaded(*self._files)
        self.context.set_alpn_protocols(["http/1.1"])

    def refresh(self) -> None:
        """Take over changed files; a pair that cannot be used is logged and changes nothing.

        Tried on a context of its own first, because a failure in the middle would leave the one in use with the
        new certificate and the old key.
        """
        now = self._now()
        if now == self._stamp:
            return
        self._stamp = now
        try:
            _loaded(*self._files)
        except Refusal as reason:
            logs.write(logging.ERROR, "certificate refused; the former one stays", reason=str(reason))
        else:
            self.context.load_cert_chain(*self._files)
            logs.write(logging.INFO, "certificate read")

    def _now(self) -> tuple[stamp.Stamp | None, ...]:
        return tuple(stamp.of_file(path) for path in self._files)


def _loaded(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        found = error.strerror if isinstance(error, FileNotFoundError) else type(error).__name__
        where = f"{certificate} and {key}"
        raise Refusal(
            where, "TLS", expected="a PEM certificate chain and its key", found=found or "an error"
        ) from error
    return context


def _no_password() -> str:
    """Instead of the question at the terminal that openssl would ask for an encrypted key."""
    raise ValueError("the key is encrypted")
