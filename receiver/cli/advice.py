"""Settings that are valid but probably mistakes: `serve` logs each as a warning, `doctor` lists them."""

import ipaddress
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

from handlers.values import immutable
from receiver.config.load import Loaded, is_secret
from receiver.config.settings import Settings
from receiver.egress.address_guard import BadUrl, split
from receiver.store.postgres.url import addresses, is_postgres, without_password

READABLE_BY_OTHERS = 0o004
"""The mode bit that lets every user of the machine read a file."""
EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared, not listened on
"""The hosts that stand for all addresses of the machine."""


@immutable
class Advice:
    """A warning about a setting: a sentence with the consequence and the fix."""

    setting: str
    said: str


def advice(loaded: Loaded, check: Callable[[str], None]) -> Iterator[Advice]:
    """Yield a warning for each setting that is probably a mistake.

    `check` must raise `BadUrl` for a URL that the egress guard blocks.
    """
    yield from _accounts(loaded, check)
    yield from _sources(loaded.settings)
    yield from _public_url(loaded.settings)
    yield from _file(loaded)
    yield from _database(loaded.settings.database_url)


def _accounts(loaded: Loaded, check: Callable[[str], None]) -> Iterator[Advice]:
    # A deployment may take messages of sources only.
    if not any(setup.on for setup in loaded.accounts.values()) and not loaded.sources:
        said = "no account is on, so no job can be submitted; set providers.<account>.api_key"
        yield Advice("providers", said)
    for name, setup in loaded.accounts.items():
        if not setup.on:
            continue
        try:
            check(setup.base_url)
        except BadUrl as error:
            said = f"{setup.base_url} cannot be called, so jobs of this account stay pending: {error}"
            yield Advice(f"providers.{name}.base_url", said)


def _sources(settings: Settings) -> Iterator[Advice]:
    for source in settings.sources:
        if source.proof.insecure:
            said = f"anybody may send messages to /sources/{source.name}: its scheme proves nothing"
            yield Advice(f"sources.{source.name}", said)


def _public_url(settings: Settings) -> Iterator[Advice]:
    url = settings.public_url
    if url is None:
        if settings.host in EVERY_ADDRESS:
            said = f"is not set and the service listens on {settings.host}: links name 127.0.0.1; set it"
            yield Advice("public_url", said)
    elif url.startswith("http://") and not _is_loopback(split(url)[0].host):
        said = "is http: callbacks, their secrets and links travel in the clear; use https"
        yield Advice("public_url", said)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _file(loaded: Loaded) -> Iterator[Advice]:
    if loaded.file is None or not loaded.file.stat().st_mode & READABLE_BY_OTHERS:
        return
    # A secret that comes from the environment is not in the file, so its mode does not matter.
    found = [name for name, origin in loaded.origins.items() if origin.startswith("file ")]
    secret = [name for name in found if _holds_secret(loaded.settings, name)]
    if secret:
        said = f"every user of this machine can read {', '.join(secret)} in it; chmod o-r, or use ..._FILE"
        yield Advice(str(loaded.file), said)


def _holds_secret(settings: Settings, name: str) -> bool:
    if name == "endpoints":
        return any(one.secret or one.headers for one in settings.endpoints)
    if name == "sources":
        return any(one.proof.secrets or (one.challenge and one.challenge.crc) for one in settings.sources)
    if name == "database_url":
        return without_password(settings.database_url) != settings.database_url
    return is_secret(name.rpartition(".")[2])


def _database(url: str) -> Iterator[Advice]:
    if not is_postgres(url):
        return
    given = [host.rpartition(":")[0] if _has_port(host) else host for host in addresses(url)]
    hosts = [host.strip("[]") for host in given]
    # Unix sockets and loopback connections do not leave the machine, so no certificate is needed there.
    remote = [host for host in hosts if not host.startswith("/") and not _is_loopback(host)]
    if remote and parse_qs(urlsplit(url).query).get("sslmode", [""])[-1] != "verify-full":
        said = (
            f"the connection to {remote[0]} is not checked against its certificate; add sslmode=verify-full"
        )
        yield Advice("database_url", said)


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]
