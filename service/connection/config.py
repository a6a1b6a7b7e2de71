"""Settings → uvicorn's configuration."""

from __future__ import annotations

import asyncio

import uvicorn

from service.app import Service
from service.connection.arrivals import Arrivals
from service.listener import BACKLOG
from service.settings import Settings
from service.tls import Certificate


class Config(uvicorn.Config):
    """uvicorn's configuration from our settings, and what the protocol needs of ours."""

    def __init__(self, app: Service, settings: Settings, http: type[asyncio.Protocol]) -> None:
        super().__init__(
            app,
            loop="uvloop",
            http=http,
            ws="none",
            lifespan="on",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=settings.drain_timeout_seconds,
            backlog=BACKLOG,
        )
        self.service = app
        self.settings = settings
        self.arrivals: Arrivals | None = None

    def load(self) -> None:
        super().load()
        certificate, key = self.settings.tls_certificate_file, self.settings.tls_key_file
        if certificate is not None and key is not None:
            followed = Certificate(certificate, key)
            self.ssl = followed.context
            self.service.looks.append(followed.refresh)
