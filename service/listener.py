"""Host and port → the listening socket, and room for the connections that it brings."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import resource
import socket
import struct

from clipmax.refusal import Refusal
from service import logs

BACKLOG = 2048
"""Connections that the kernel takes before the service does; more are bounded by its `somaxconn`."""

_SO_ATTACH_FILTER = 26
_ONLY_BEGUN = (
    (0x30, 0, 0, 13),  # load the byte of the TCP header that holds the flags
    (0x45, 0, 1, 0x10),  # ACK is in every packet of a connection but the first
    (0x06, 0, 0, 0xFFFFFFFF),  # keep
    (0x06, 0, 0, 0),  # drop
)

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


def turn_newcomers_away(listener: socket.socket) -> None:
    """From now on the kernel drops the first packet of every new connection; those that have begun are completed.

    Closing a listening socket resets whoever was let in after the last look at its queue. Before this and the close
    nobody is let in, so who comes now tries again a second later, as TCP does, and finds either the next process or a
    port that is closed in order. Where the kernel cannot do it, nothing happens.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _ONLY_BEGUN))
    header = struct.pack("HP", len(_ONLY_BEGUN), ctypes.addressof(program))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)


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
