"""Environment and flags → Settings, and what is refused."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from pydantic import ValidationError

from clipmax.refusal import Refusal
from service import settings
from service.settings import Settings
from tests.service.running import command

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


def test_nothing_set_gives_the_contract_s_defaults() -> None:
    """The names and values that other programs rely on."""
    found = Settings.read({})
    assert found.models == Path("models")
    assert (found.host, found.port, found.workers) == ("127.0.0.1", 8000, 1)
    assert (found.provider, found.provider_policy) == ("cpu", "require")
    assert found.default_model is None
    assert found.api_keys_file is None
    assert (found.header_timeout_seconds, found.body_timeout_seconds, found.min_body_rate) == (10, 20, 1024)
    assert found.threads >= 1


def test_a_flag_wins_over_its_variable() -> None:
    """And text becomes the field's type."""
    found = Settings.read({"CLIPMAX_PORT": "9000", "CLIPMAX_HOST": "::1"}, {"port": "9001"})
    assert (found.host, found.port) == ("::1", 9001)


def test_an_empty_variable_is_unset() -> None:
    """Compose files write ${X:-} for that."""
    assert Settings.read({"CLIPMAX_PORT": "", "CLIPMAX_API_KEYS_FILE": ""}) == Settings.read({})


def test_settings_do_not_change() -> None:
    """They are read once."""
    with pytest.raises(ValidationError):
        Settings.read({}).port = 1  # type: ignore[misc]  # that is what is tested


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CLIPMAX_PORT", "http"),
        ("CLIPMAX_PORT", "65536"),
        ("CLIPMAX_PORT", "-1"),
        ("CLIPMAX_PROVIDER", "gpu"),
        ("CLIPMAX_PROVIDER_POLICY", "maybe"),
        ("CLIPMAX_THREADS", "0"),
        ("CLIPMAX_THREADS", "1.5"),
        ("CLIPMAX_WORKERS", "0"),
        ("CLIPMAX_WORKERS", "257"),
        ("CLIPMAX_VERSIONS", "newest"),
        ("CLIPMAX_VERSIONS", "latest:0"),
        ("CLIPMAX_VERSIONS", "latest,digits"),
        ("CLIPMAX_VERSIONS", "../x=all"),
        ("CLIPMAX_WATCH_SECONDS", "-1"),
        ("CLIPMAX_TRUSTED_HOSTS", "example.com:80"),
        ("CLIPMAX_TRUSTED_HOSTS", "*"),
        ("CLIPMAX_CORS_ORIGINS", "example.com"),
        ("CLIPMAX_CORS_ORIGINS", "https://a.example/,https://b.example"),
        ("CLIPMAX_TLS_KEY_FILE", "key.pem"),
        ("CLIPMAX_MAX_CONNECTIONS", "0"),
        ("CLIPMAX_MAX_BODY_BYTES", "8MiB"),
        ("CLIPMAX_MAX_BATCH_ROWS", "0"),
        ("CLIPMAX_MAX_JSON_DEPTH", "100000"),
        ("CLIPMAX_HEADER_TIMEOUT_SECONDS", "0"),
        ("CLIPMAX_BODY_TIMEOUT_SECONDS", "inf"),
        ("CLIPMAX_DRAIN_DELAY_SECONDS", "nan"),
        ("CLIPMAX_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, text: str) -> None:
    """With what was expected and what was found."""
    with pytest.raises(Refusal, match=name) as refusal:
        Settings.read({name: text})
    assert text in refusal.value.found
    assert refusal.value.expected


def test_a_wrong_flag_is_refused_by_the_flag_s_name() -> None:
    """The person typed the flag, not the variable."""
    with pytest.raises(Refusal, match="--max-body-bytes"):
        Settings.read({}, {"max_body_bytes": "many"})


def test_workers_share_the_cpus() -> None:
    """Each has at least one thread; what was chosen is what each has."""
    alone = Settings.read({}).threads
    assert Settings.read({"CLIPMAX_WORKERS": str(2 * alone)}).threads == 1
    assert Settings.read({"CLIPMAX_WORKERS": "4", "CLIPMAX_THREADS": "3"}).threads == 3


def test_a_certificate_without_its_key_is_refused() -> None:
    """Rather than served without TLS."""
    with pytest.raises(Refusal, match="CLIPMAX_TLS_KEY_FILE: expected a certificate file and a key file, or neither"):
        Settings.read({"CLIPMAX_TLS_CERTIFICATE_FILE": "certificate.pem"})


def test_service_links_of_kubernetes_are_passed_over() -> None:
    """A Service named `clipmax` sets them in every pod beside it."""
    links = {"CLIPMAX_PORT": "tcp://10.0.0.1:8000", "CLIPMAX_SERVICE_HOST": "10.0.0.1", "CLIPMAX_HOST": "0.0.0.0"}  # noqa: S104
    found = Settings.read(links)
    assert (found.host, found.port) == ("0.0.0.0", 8000)  # noqa: S104
    assert list(settings.unknown_variables(links)) == ["CLIPMAX_PORT", "CLIPMAX_SERVICE_HOST"]
    assert not list(settings.unknown_variables({"CLIPMAX_PORT": "1", "PATH": "/bin"}))


def test_every_field_has_a_flag() -> None:
    """In kebab case, and what was not given stays out."""
    parser = argparse.ArgumentParser()
    settings.add_flags(parser)
    for name in Settings.model_fields:
        parsed = parser.parse_args([settings.flag(name), "text"])
        assert settings.flags_of(parsed) == {name: "text"}


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_field_is_described_and_in_the_docs(name: str) -> None:
    """One row a field, with variable, flag, default and description."""
    field = Settings.model_fields[name]
    (row,) = [line for line in DOCS.read_text().splitlines() if f"| `{settings.variable(name)}` |" in line]
    is_unset = field.default is None or field.default_factory is not None
    default = "unset" if is_unset else f"`{field.default}`"
    expected = ["", f"`{settings.variable(name)}`", f"`{settings.flag(name)}`", default, field.description, ""]
    assert [cell.strip() for cell in row.split("|")] == expected


def test_a_wrong_setting_ends_the_command_with_one_line() -> None:
    """Exit code 1, before anything heavy is loaded."""
    done = command("serve", CLIPMAX_PROVIDER="gpu")
    assert done.returncode == 1
    assert done.stderr == "clipmax: settings: CLIPMAX_PROVIDER: expected 'cpu', 'cuda' or 'tensorrt', found 'gpu'\n"
