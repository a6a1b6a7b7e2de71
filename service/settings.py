"""Environment and flags, read once into one frozen `Settings`; every field is listed in docs/settings.md."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from clipmax.refusal import Refusal, shorten
from service import logs, threads
from service.engine.policy import Policy
from service.hosts import PATTERN as HOST

PREFIX = "CLIPMAX_"
_SERVICE_LINK = "tcp://"
_ORIGIN = re.compile(r"\*|https?://[a-z0-9.\[\]:-]+")


class Settings(BaseModel):
    """What an operator may choose.

    Each field is the environment variable `CLIPMAX_<FIELD>` and the flag `--<field>` of `clipmax serve`; the
    flag wins. An empty variable counts as unset, because compose files write `${X:-}` for that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    models: Path = Field(default=Path("models"), description="folder of the published models")
    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="TCP port to listen on; 0 takes any free one")
    default_model: str | None = Field(
        default=None, description="model behind `POST /predict`; unset: the only one there is"
    )
    provider: Literal["cpu", "cuda", "tensorrt"] = Field(
        default="cpu", description="onnxruntime execution provider to run on"
    )
    provider_policy: Literal["require", "prefer"] = Field(
        default="require",
        description="`require`: no start without the provider; `prefer`: run on the CPU and say `degraded`",
    )
    provider_device: int = Field(default=0, ge=0, description="number of the GPU")
    provider_memory_bytes: int = Field(
        default=0, ge=0, description="most memory of the GPU for one model's arena, in bytes; 0: any"
    )
    provider_cache: Path | None = Field(
        default=None, description="writable folder where TensorRT keeps its engines; unset: built at each start"
    )
    workers: int = Field(default=1, ge=1, le=256, description="worker processes on the one port")
    threads: int = Field(
        default_factory=lambda given: max(1, threads.available() // given.get("workers", 1)),
        ge=1,
        le=1024,
        description="threads of one inference run; unset: the CPUs of quota or affinity, shared by the workers",
    )
    versions: str = Field(
        default="latest", description="versions that serve: `latest`, `latest:2`, `all`, `latest,digits=3+7` …"
    )
    watch_seconds: float = Field(
        default=1.0, ge=0, le=3600, description="time between two looks at models, keys and certificate; 0: never"
    )
    api_keys_file: Path | None = Field(
        default=None, description="file of accepted API keys, `name:sha256` a line; unset: no key is asked for"
    )
    trusted_hosts: str | None = Field(
        default=None, description="names in the Host header, with commas, also `*.example.com`; unset: any"
    )
    cors_origins: str | None = Field(
        default=None, description="origins whose pages may ask, with commas, or `*`; unset: none"
    )
    tls_certificate_file: Path | None = Field(default=None, description="PEM certificate chain; unset: plain HTTP")
    tls_key_file: Path | None = Field(
        default=None, validate_default=True, description="PEM key of the certificate, not encrypted"
    )
    telemetry: bool = Field(default=True, description="count what is done, and answer `GET /metrics`")
    drift_window_seconds: float = Field(
        default=1800.0, ge=1, description="length of a window of drift; the present one and the one before count"
    )
    traces_endpoint: str | None = Field(
        default=None, pattern=r"^https?://", description="URL to which OpenTelemetry spans are sent (OTLP); unset: none"
    )
    traces_ratio: float = Field(
        default=1.0, ge=0, le=1, description="share of requests that are traced, where the caller does not say"
    )
    playground: bool = Field(default=True, description="serve the page `/` on which a person tries the models")
    max_connections: int = Field(
        default=1024, ge=1, description="most connections of a worker at a time; above that 429"
    )
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1, description="largest request body, in bytes")
    max_batch_rows: int = Field(default=4096, ge=1, description="most rows in one request")
    max_answer_values: int = Field(
        default=4 * 1024 * 1024, ge=1, description="most rows times labels where every label's value is asked for"
    )
    max_queue_rows: int = Field(
        default=16384, ge=1, description="most rows that wait and run at a time; above that 429"
    )
    max_queue_bytes: int = Field(
        default=128 * 1024 * 1024, ge=1, description="most bytes of bodies and rows in memory at a time; above that 429"
    )
    max_client_rows: int = Field(
        default=0, ge=0, description="most rows of one client (API key, else address) at a time; 0: any"
    )
    max_json_depth: int = Field(default=32, ge=4, le=512, description="deepest nesting of a JSON body")
    max_header_bytes: int = Field(
        default=64 * 1024, ge=1024, description="largest request line and headers together, in bytes"
    )
    header_timeout_seconds: float = Field(default=10.0, gt=0, description="time for the headers of a request to arrive")
    body_timeout_seconds: float = Field(default=20.0, gt=0, description="time for the body of a request to arrive")
    min_body_rate: int = Field(
        default=1024, ge=0, description="slowest average body in bytes a second, judged after 5 s; 0: any"
    )
    keep_alive_seconds: int = Field(
        default=75, ge=1, description="idle time before a connection is closed; longer than a load balancer's"
    )
    drain_delay_seconds: float = Field(
        default=5.0, ge=0, description="time after SIGTERM in which readiness says 503 and requests are still taken"
    )
    drain_timeout_seconds: int = Field(
        default=20, ge=1, description="time for requests in flight to finish after the drain delay"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe log line that is written"
    )

    @field_validator("versions")
    @classmethod
    def _check_versions(cls, versions: str) -> str:
        Policy.parse(versions)
        return versions

    @field_validator("trusted_hosts")
    @classmethod
    def _check_hosts(cls, hosts: str | None) -> str | None:
        return _check_names(hosts, HOST, "host names without ports, in lower case, separated by commas")

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: str | None) -> str | None:
        return _check_names(origins, _ORIGIN, "origins such as https://shop.example, separated by commas, or *")

    @field_validator("tls_key_file")
    @classmethod
    def _check_key(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if (key is None) != (info.data.get("tls_certificate_file") is None):
            raise ValueError("a certificate file and a key file, or neither")
        return key

    @classmethod
    def read(cls, environment: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Settings:
        """The settings of this process.

        Args:
            environment: normally `os.environ`.
            flags: field name → text, as the command line gave them.

        Raises:
            Refusal: names the variable or flag, what was expected and what was found.
        """
        variables = {name: environment.get(variable(name), "") for name in cls.model_fields}
        if variables["port"].startswith(_SERVICE_LINK):
            del variables["port"]
        given = {name: text for name, text in variables.items() if text} | dict(flags or {})
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise _refusal(error, flags or {}) from error


def variable(field: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{field.upper()}"


def flag(field: str) -> str:
    """The command line flag of a field."""
    return f"--{field.replace('_', '-')}"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One optional flag a field; the text is checked by `Settings.read`, so both ways are refused alike."""
    for name, field in Settings.model_fields.items():
        parser.add_argument(flag(name), dest=name, metavar="VALUE", help=f"{field.description} [{variable(name)}]")


def flags_of(arguments: argparse.Namespace) -> dict[str, str]:
    """The flags that were given, for `Settings.read`."""
    values = ((name, getattr(arguments, name)) for name in Settings.model_fields)
    return {name: value for name, value in values if value is not None}


def names_in(text: str) -> frozenset[str]:
    """The parts of a setting that is a list with commas."""
    return frozenset(part.strip() for part in text.split(","))


def warn_of_unknown(environment: Mapping[str, str]) -> None:
    """One line in the log for each of `unknown_variables`."""
    for name in unknown_variables(environment):
        logs.write(logging.WARNING, "unknown variable ignored", variable=name)


def _check_names(text: str | None, pattern: re.Pattern[str], expected: str) -> str | None:
    if text is not None and not all(pattern.fullmatch(name) for name in names_in(text)):
        raise ValueError(expected)
    return text


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Names that begin with our prefix and mean nothing to us, for a warning.

    Not a refusal: Kubernetes sets `CLIPMAX_SERVICE_HOST`, `CLIPMAX_PORT=tcp://…` and more in every pod beside a
    Service named `clipmax`.
    """
    known = {variable(name) for name in Settings.model_fields}
    for name, value in sorted(environment.items()):
        is_link = name == variable("port") and value.startswith(_SERVICE_LINK)
        if name.startswith(PREFIX) and (name not in known or is_link):
            yield name


def _refusal(error: ValidationError, flags: Mapping[str, str]) -> Refusal:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    expected = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    where = flag(name) if name in flags else variable(name)
    return Refusal("settings", where, expected=expected, found=shorten(first["input"]))
