"""Host and port → the listening socket, and room for the connections that it brings."""

from __future__ import annotations

import logging
import resource
import socket

from clipmax.refusal import Refusal
from service import logs

BACKLOG = 2048
"""Connections that the kernel takes before the service does; more are bounded by its `somaxconn`."""

_OTHER_FILES = 128
"""Descriptors that are no connection: libraries, the log, model files while they load."""


def bind(host: str, port: int) -> socket.socket:
    """The listening address, taken before the models are loaded so that a taken one is known at once.

    Raises:
        Refusal: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        reason = f"{host}:{port}: {error.strerror or error}"
        raise Refusal("settings", "CLIPMAX_PORT", expected="an address that is free", found=reason) from error
    return listener


def make_room(connections: int) -> None:
    """Let this process have as many descriptors as its connections may need, as far as the hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    given = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (given, hard))
    if given < wanted:
        logs.write(logging.WARNING, "fewer file descriptors than connections", limit=given, wanted=wanted)
