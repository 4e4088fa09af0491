"""The address and the key of a service, as the environment names them."""

import os
import re
from dataclasses import field
from pathlib import Path

import click

from handlers.values import immutable
from receiver.domain.errors import missing, no_file

URL, KEY, KEY_FILE = "RINGBACK_URL", "RINGBACK_API_KEY", "RINGBACK_API_KEY_FILE"
ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # nothing is bound here
"""Where a service is that listens everywhere."""
KEY_FORM = re.compile(r"[!-~]+", re.ASCII)


@immutable
class Service:
    """Where a service is, and the key to use there."""

    url: str
    key: str = field(repr=False)


def given_url() -> str | None:
    text = os.environ.get(URL, "").strip()
    if not text:
        return None
    scheme, mark, rest = text.partition("://")
    host = rest.partition("/")[0]
    if not mark:
        raise click.UsageError(f"{URL} needs its scheme: write http://{text}")
    if scheme.lower() not in {"http", "https"}:
        raise click.UsageError(f"{URL} must begin with http:// or https://")
    if "@" in host:
        raise click.UsageError(f"{URL} must hold no user name; the key goes into {KEY}")
    if not host:
        raise click.UsageError(f"{URL} names no host: write, for example, http://127.0.0.1:8080")
    if rest.rstrip("/") == f"{host}/v1":
        raise click.UsageError(f"{URL} stands without the path of a call: write {scheme.lower()}://{host}")
    return f"{scheme.lower()}://{rest.rstrip('/')}"


def given_key() -> str | None:
    text = os.environ.get(KEY, "").strip()
    file = os.environ.get(KEY_FILE, "").strip()
    if text and file:
        raise click.UsageError(f"{KEY} and {KEY_FILE} are both set; set one of the two")
    if text or not file:
        return text or None
    return read_key(Path(file), KEY_FILE)


def read_key(file: Path, named: str, *, needed: bool = True) -> str:
    """Return the key in a file, "" when none is there nor `needed`; raises `click.UsageError`."""
    try:
        return file.read_text("utf-8").strip()
    except FileNotFoundError:
        if not needed:
            return ""
        raise click.UsageError(f"{named}: {missing(file)}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = no_file(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise click.UsageError(f"{named}: cannot read {file}: {reason}") from None
