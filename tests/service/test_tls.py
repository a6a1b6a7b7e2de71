"""Certificates, made here by openssl."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import ssl
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from clipmax.refusal import Refusal
from service.tls import Certificate
from tests.service.load import BODY, HEADERS
from tests.service.running import PATIENCE_SECONDS, serving

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


def make(folder: Path, name: str) -> None:
    """A certificate for 127.0.0.1 and its key, put in place one after the other."""
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=test"
        f" -addext subjectAltName=IP:127.0.0.1 -keyout {name}.key -out {name}.pem"
    )
    subprocess.run(command.split(), cwd=folder, capture_output=True, check=True, timeout=60)
    (folder / f"{name}.key").replace(folder / "key.pem")
    (folder / f"{name}.pem").replace(folder / "certificate.pem")


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "certificate.pem"))


def test_requests_over_tls_are_answered_and_a_new_certificate_is_taken_over(models: Path, tmp_path: Path) -> None:
    """Without a restart; and what ends in order over TCP does so over TLS."""
    make(tmp_path, "first")
    files = ("--tls-certificate-file", f"{tmp_path}/certificate.pem", "--tls-key-file", f"{tmp_path}/key.pem")
    with serving(models, tmp_path, *files, "--watch-seconds", "0.05") as running:
        url = f"https://127.0.0.1:{running.port}/predict"
        former = trusting(tmp_path)
        assert httpx.post(url, content=BODY, headers=HEADERS, verify=former).status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.post(url.replace("https", "http"), content=BODY, headers=HEADERS)
        make(tmp_path, "second")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not [one for one in running.events() if one["event"] == "certificate read"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert httpx.post(url, content=BODY, headers=HEADERS, verify=trusting(tmp_path)).status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.post(url, content=BODY, headers=HEADERS, verify=former)
        os.kill(running.process.pid, signal.SIGTERM)
        assert running.process.wait(PATIENCE_SECONDS) == 0


def test_files_that_are_no_pair_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the start with the reason; later the former pair stays."""
    make(tmp_path, "first")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    followed = Certificate(certificate, key)
    former = key.read_bytes()
    make(tmp_path, "second")
    key.write_bytes(former)
    with caplog.at_level(logging.ERROR):
        followed.refresh()
    assert [record.getMessage() for record in caplog.records] == ["certificate refused; the former one stays"]
    for path, content in ((key, former), (key, b"no key")):
        path.write_bytes(content)
        with pytest.raises(Refusal, match="a PEM certificate chain and its key"):
            Certificate(certificate, key)
    key.unlink()
    with pytest.raises(Refusal, match="No such file"):
        Certificate(certificate, key)
