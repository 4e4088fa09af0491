"""The URL and the key of a client, given or from the environment."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ringback.errors import ConfigurationError

URL, KEY, KEY_FILE = "RINGBACK_URL", "RINGBACK_API_KEY", "RINGBACK_API_KEY_FILE"
KEY_FORM = re.compile(r"[!-~]{1,500}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Settings:
    """The URL of a service, without a slash at its end, and an API key for it."""

    url: str
    key: str = field(repr=False)


def settings(url: str | None, api_key: str | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a client. The environment serves for the arguments that are None.

    Raises `ConfigurationError` with the name of the setting that is missing or wrong.
    """
    variables = os.environ if environment is None else environment
    text = url if url is not None else variables.get(URL, "")
    key = (api_key if api_key is not None else _given_key(variables)).strip()
    if not key:
        raise ConfigurationError(f"give an API key, or set {KEY} or {KEY_FILE}")
    if not KEY_FORM.fullmatch(key):
        raise ConfigurationError("an API key is plain ASCII without blanks")
    return Settings(checked_url(text.strip()), key)


def checked_url(text: str) -> str:
    """Return the URL of a service without a slash at its end. Raises `ConfigurationError`."""
    if not text:
        raise ConfigurationError(f"give the URL of the service, or set {URL}")
    try:
        parts = urlsplit(text)
        # The port is read only when it is asked for, and the host encoded only when it is called.
        parts.port  # noqa: B018  # it raises for a port that is none
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise ConfigurationError("the URL of the service is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError("the URL of the service begins with http:// or https:// and names a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError("the URL of the service has no user, query or fragment; the key is apart")
    return text.rstrip("/").removesuffix("/v1")


def _given_key(variables: Mapping[str, str]) -> str:
    key, file = variables.get(KEY, "").strip(), variables.get(KEY_FILE, "").strip()
    # One of the two would be ignored, and nothing would tell which.
    if key and file:
        raise ConfigurationError(f"{KEY} and {KEY_FILE} are both set; set one of the two")
    if not file:
        return key
    try:
        return Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"{KEY_FILE}: cannot read {file}: {reason}") from None
