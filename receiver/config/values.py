"""The types of single settings: URLs, networks, names, paths and secrets."""

import ipaddress
import socket
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from receiver.egress.address_guard import BadUrl, split
from receiver.egress.proxy import proxy_of
from receiver.security.signing import BadSecret, key_of


def _network(text: str) -> str:
    ipaddress.ip_network(text)
    return text


def _base_url(text: str) -> str:
    try:
        split(text)
    except BadUrl as error:
        raise ValueError(str(error)) from None
    if "?" in text:
        raise ValueError("a base URL has no query")
    return text.rstrip("/")


def _target_url(text: str) -> str:
    try:
        split(text)
    except BadUrl as error:
        raise ValueError(str(error)) from None
    return text


def _secret(value: SecretStr) -> SecretStr:
    try:
        key_of(value.get_secret_value())
    except BadSecret as error:
        raise ValueError(f"{error}; leave it out to have one made") from None
    return value


Network = Annotated[str, AfterValidator(_network)]


def _no_nul(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("must be a path, without NUL")
    return path


def _is_address(name: str) -> bool:
    """Return whether a name is read as an address, in any of the forms of the resolver."""
    try:
        socket.inet_aton(name)
    except OSError:
        return False
    return True


def _host_name(text: str) -> str:
    name = text.lower().removesuffix(".")
    try:
        address = split(f"https://{name}/")[0].host != name or _is_address(name)
    except BadUrl:
        address = True
    if address:
        raise ValueError("must be a name without scheme, port or path; addresses belong in egress_allow")
    return name


def _proxy(url: SecretStr) -> SecretStr:
    try:
        proxy_of(url.get_secret_value())
    except BadUrl as error:
        raise ValueError(str(error)) from None
    return url


ProxyUrl = Annotated[SecretStr, AfterValidator(_proxy)]
HostName = Annotated[str, AfterValidator(_host_name)]
FilePath = Annotated[Path, AfterValidator(_no_nul)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
TargetUrl = Annotated[str, AfterValidator(_target_url)]
EndpointSecret = Annotated[SecretStr, AfterValidator(_secret)]
Seconds = Annotated[float, Field(gt=0, le=604800)]
"""A time in seconds, at most 7 days."""
