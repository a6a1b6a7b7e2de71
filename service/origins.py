"""Which web pages may ask: the CORS answer headers (Fetch standard) for the origins that a setting names."""

from __future__ import annotations

from collections.abc import Mapping

from service.exchange import Rendered

Headers = Mapping[bytes, bytes]
_ASKED_METHOD = b"access-control-request-method"
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, inference-header-content-length, x-api-key, x-request-id",
    ),
    (b"access-control-max-age", b"600"),
]
_EXPOSED = (b"access-control-expose-headers", b"inference-header-content-length, retry-after, x-request-id")


class Origins:
    """The origins that may read answers; cookies never count, because the service has none.

    Args:
        allowed: as browsers send them, such as `https://shop.example`; `*` means any.
    """

    def __init__(self, allowed: frozenset[str]) -> None:
        self._any = "*" in allowed
        self._allowed = frozenset(origin.encode() for origin in allowed)

    def headers(self, asked: Headers) -> list[tuple[bytes, bytes]]:
        """What every answer carries; from other origins nothing but the word for caches that it depends on them."""
        if self._any:
            return [(b"access-control-allow-origin", b"*"), _EXPOSED]
        origin = asked.get(b"origin", b"")
        vary = (b"vary", b"Origin")
        return [(b"access-control-allow-origin", origin), _EXPOSED, vary] if origin in self._allowed else [vary]

    def preflight(self, method: str, asked: Headers) -> Rendered | None:
        """The answer to a browser that asks before it sends, which it does without a key; None for anything else."""
        if method != "OPTIONS" or _ASKED_METHOD not in asked:
            return None
        is_allowed = self._any or asked.get(b"origin", b"") in self._allowed
        return Rendered(204, _PREFLIGHT if is_allowed else [], b"")
