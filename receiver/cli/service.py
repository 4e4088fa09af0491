"""The URL and the API key of a service, read from the environment."""

import os
import re
from dataclasses import field
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx

from handlers.values import immutable
from receiver.domain.errors import missing, no_file

URL, KEY, KEY_FILE = "RINGBACK_URL", "RINGBACK_API_KEY", "RINGBACK_API_KEY_FILE"
ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # nothing is bound here
"""The address of a service that listens on all addresses, for calls from its own machine."""
KEY_FORM = re.compile(r"[!-~]+", re.ASCII)
"""The form of a key: visible ASCII, which fits into a header."""


@immutable
class Service:
    """The URL of a service, and an API key for it."""

    url: str
    key: str = field(repr=False)


def given_url() -> str | None:
    """Return the URL in RINGBACK_URL, None if it is not set. Raises `click.UsageError` if it is malformed."""
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
    return _callable(f"{scheme.lower()}://{rest.rstrip('/')}")


def _callable(url: str) -> str:
    """Return a URL. Raises `click.UsageError` for a host or a port that cannot be called."""
    try:
        # A host is decoded, encoded and split only when it is called, with errors that name no setting.
        host, _ = httpx.URL(url).host.encode("idna"), urlsplit(url).port
        if not host or not url.isprintable() or " " in url:
            raise ValueError
    except (httpx.InvalidURL, ValueError):
        raise click.UsageError(f"{URL}: {url} is not a URL") from None
    return url


def given_key() -> str | None:
    """Return the key in RINGBACK_API_KEY or in the file of RINGBACK_API_KEY_FILE, None if none is set.

    Raises `click.UsageError` if both are set or the file cannot be read.
    """
    text = os.environ.get(KEY, "").strip()
    file = os.environ.get(KEY_FILE, "").strip()
    if text and file:
        raise click.UsageError(f"{KEY} and {KEY_FILE} are both set; set one of the two")
    if text or not file:
        return text or None
    return read_key(Path(file), KEY_FILE)


def read_key(file: Path, named: str, *, needed: bool = True) -> str:
    """Return the key in a file, "" when the file does not exist and is not `needed`.

    Raises `click.UsageError`, which names the setting `named`, when the file cannot be read.
    """
    try:
        return file.read_text("utf-8").strip()
    except FileNotFoundError:
        if not needed:
            return ""
        raise click.UsageError(f"{named}: {missing(file)}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = no_file(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise click.UsageError(f"{named}: cannot read {file}: {reason}") from None
