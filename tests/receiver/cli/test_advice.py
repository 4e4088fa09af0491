"""Tests of the advice: settings that are valid but probably mistakes."""

from pathlib import Path

import pytest

from receiver.cli.advice import advice
from receiver.config.load import load
from receiver.egress.address_guard import BadUrl

ACCOUNT = '[providers.aiml]\napi_key = "k"\n'


def given(folder: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    """Return the advice on a file with this text, by setting. URLs with a 10. address are blocked."""

    def check(url: str) -> None:
        if "//10." in url:
            raise BadUrl("blocked")

    path = folder / "ringback.toml"
    path.write_text(text)
    path.chmod(mode)
    return {one.setting: one.said for one in advice(load(path, {}), check)}


@pytest.mark.parametrize(
    ("line", "warned"),
    [
        ('public_url = "http://hooks.example"', True),
        ('public_url = "https://hooks.example"', False),
        ('public_url = "http://127.0.0.1:8080"', False),
        ('public_url = "http://localhost:8080"', False),
        ('public_url = "http://[::1]:8080"', False),
        ('host = "0.0.0.0"', True),
        ('host = "::"', True),
        ('host = "0.0.0.0"\npublic_url = "https://hooks.example"', False),
    ],
)
def test_a_public_url(tmp_path: Path, line: str, warned: bool) -> None:
    assert set(given(tmp_path, f"{line}\n{ACCOUNT}")) == ({"public_url"} if warned else set())


def test_a_source_that_anybody_may_use_is_told_and_needs_no_account(tmp_path: Path) -> None:
    source = '[[sources]]\nname = "shop"\nproof = {scheme = "none", insecure = true}\n'
    assert given(tmp_path, source) == {
        "sources.shop": "anybody may send messages to /sources/shop: its scheme proves nothing"
    }
    proved = source.replace('"none", insecure = true', '"github", secrets = ["s"]')
    assert given(tmp_path, proved) == {}
    assert "can read sources in it" in "".join(given(tmp_path, proved, mode=0o644).values())
    assert "can read" not in "".join(given(tmp_path, source, mode=0o644).values())


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        ("postgresql://u@db.example/x", "db.example"),
        ("postgresql://u:p@db.example:5433/x?sslmode=require", "db.example"),
        ("postgresql://u@[2001:db8::1]:5433/x", "2001:db8::1"),
        ("postgresql://u@/x?host=db.example", "db.example"),
        ("postgresql://u@127.0.0.1,db.example:1/x", "db.example"),
        ("postgresql://u@db.example/x?sslmode=verify-full", None),
        ("postgresql://u@127.0.0.1/x", None),
        ("postgresql://u@[::1]:5432/x", None),
        ("postgresql://u@localhost/x", None),
        ("postgresql:///x?host=/var/run/postgresql", None),
        ("sqlite:///x.db", None),
    ],
)
def test_a_database_that_is_not_checked(tmp_path: Path, url: str, remote: str | None) -> None:
    said = given(tmp_path, f'database_url = "{url}"\n{ACCOUNT}').get("database_url")
    expected = f"the connection to {remote} is not checked against its certificate; add sslmode=verify-full"
    assert said == (expected if remote else None)


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("port = 1\n[providers.aiml]\nmax_jobs = 1", None),
        (ACCOUNT, "providers.aiml.api_key"),
        ('admin_key = "rb_' + "k" * 32 + '"', "admin_key"),
        ('secret_keys = ["' + "m" * 32 + '"]', "secret_keys"),
        ('database_url = "postgresql://u:p@127.0.0.1/x"', "database_url"),
        ('[[endpoints]]\nid = "a"\nurl = "https://a.example"\nheaders = {x-key = "v"}', "endpoints"),
        ('[[endpoints]]\nid = "a"\nurl = "https://a.example"', None),
        (
            '[providers.replicate]\nwebhook_secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="',
            "providers.replicate.webhook_secret",
        ),
    ],
)
def test_secrets_that_everybody_here_can_read(tmp_path: Path, text: str, secrets: str | None) -> None:
    file = str(tmp_path / "ringback.toml")
    said = given(tmp_path, text, 0o644).get(file)
    expected = f"every user of this machine can read {secrets} in it; chmod o-r, or use ..._FILE"
    assert said == (expected if secrets else None)
    assert file not in given(tmp_path, text, 0o640)


def test_accounts(tmp_path: Path) -> None:
    assert "no account is on" in given(tmp_path, "[providers.aiml]\nmax_jobs = 1")["providers"]
    blocked = given(tmp_path, f'{ACCOUNT}base_url = "http://10.0.0.1/x"')
    assert blocked == {
        "providers.aiml.base_url": (
            "http://10.0.0.1/x cannot be called, so jobs of this account stay pending: blocked"
        )
    }
