"""The address guard: which URLs and addresses the service may call.

It has a list of networks of its own, because the flags of the standard library differ by version.
"""

import functools
import ipaddress
import re
from collections.abc import Iterable

from handlers.values import immutable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NOT_PUBLIC: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in """
        0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
        192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
        224.0.0.0/4 240.0.0.0/4 168.63.129.16/32
        ::/96 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16
        3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8
    """.split()  # noqa: SIM905  # a table reads better than 34 quoted strings
)
PRIVATE: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in "10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.168.0.0/16 ::1/128 fc00::/7".split()  # noqa: SIM905  # as above
)
"""The networks that a name may lead into which the operator allows."""
METADATA: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in """
        169.254.0.0/16 168.63.129.16/32 192.0.0.192/32 100.100.100.200/32 fd00:ec2::/32 fd20:ce::/32 fe80::/10
    """.split()  # noqa: SIM905  # as above
)
"""The networks at which clouds tell machines their credentials; a name never leads there.

Amazon's services for machines lie below `fd00:ec2::` (the pages "IPv6 on AWS", supporting services, read on
2026-11-30), Google's below `fd20:ce::` (unconfirmed).
"""
GLOBAL_V6 = ipaddress.ip_network("2000::/3")
"""The IPv6 space that is allocated as public, except for the networks in the list above."""
URL_LIMIT = 16 * 1024
"""The most characters of a URL: one that is signed for a file may have thousands."""
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[!-~]*)?)(?P<query>\?[!-~]*)?",
    re.ASCII,
)


class BadUrl(ValueError):
    """The error for a URL that the service does not call; the message gives the reason."""


@immutable
class Origin:
    """The scheme, host and port of a call. A connection to one origin never serves another."""

    scheme: str
    host: str
    port: int

    @property
    def header(self) -> str:
        """Return the value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.header}"


DEFAULT_PORTS = {"https": 443, "http": 80}


@immutable
class Guard:
    """The rule for outgoing addresses: public ones, and those the operator allows.

    `hosts` are names that may lead to private addresses too, in lower case.
    """

    allow: tuple[Network, ...] = ()
    http: bool = False
    hosts: frozenset[str] = frozenset()

    def names(self, host: str) -> bool:
        """Return whether the operator allows the name `host`."""
        return host.lower().removesuffix(".") in self.hosts

    def allowed(self, address: Address, host: str = "") -> bool:
        """Return whether the operator allows `address`, by its network or as one of the name `host`."""
        if any(address in network for network in self.allow):
            return True
        if not self.names(host) or any(address in network for network in METADATA):
            return False
        return any(address in network for network in PRIVATE) or not self._hidden(address)

    def permits(self, address: Address, scheme: str, host: str = "") -> bool:
        """Return whether the service may connect to `address`, which the name `host` led to."""
        if self.allowed(address, host):
            return True
        return not self._hidden(address) and (scheme == "https" or self.http)

    @staticmethod
    def _hidden(address: Address) -> bool:
        """Return whether an address is not public."""
        if address.version == 6 and address not in GLOBAL_V6:
            return True
        return any(address in network for network in NOT_PUBLIC)


def guard(allow: Iterable[str], *, http: bool, hosts: Iterable[str] = ()) -> Guard:
    """Return the guard for these settings. Raises `ValueError` for a text that is no network."""
    return Guard(tuple(ipaddress.ip_network(text) for text in allow), http, frozenset(hosts))


def split(url: str) -> tuple[Origin, str]:
    """Return the origin and the target (path and query, byte for byte) of `url`. Raises `BadUrl`.

    Strict on purpose: user names, fragments, backslashes, blanks, control and non-ASCII characters have
    each made two parsers of one URL see two different hosts.
    """
    if len(url) > URL_LIMIT:
        raise BadUrl(f"a URL has at most {URL_LIMIT} characters")
    found = _URL.fullmatch(url)
    if found is None:
        if "://" not in url:
            raise BadUrl("begin it with https://, or http:// where that is allowed: https://host[:port]/path")
        raise BadUrl("use http(s)://host[:port]/path in plain ASCII, without user name, fragment or blanks")
    if "\\" in url or "#" in url:
        raise BadUrl("a URL here has neither backslashes nor a fragment")
    scheme, host = found["scheme"], found["host"].lower()
    port = int(found["port"]) if found["port"] else DEFAULT_PORTS[scheme]
    if not 0 < port < 65536 or (port < 1024 and port not in DEFAULT_PORTS.values()):
        raise BadUrl("the port must be 80, 443 or 1024 to 65535")
    if host.startswith("["):
        host = _bracketed(host[1:-1])
    elif any(not 0 < len(label) <= 63 for label in host.removesuffix(".").split(".")):
        raise BadUrl("the host name is not valid")
    return Origin(scheme, host, port), (found["path"] or "/") + (found["query"] or "")


def origin_of(url: str) -> str:
    """Return the origin of a URL: scheme, host and port. Raises `BadUrl`."""
    return str(split(url)[0])


@functools.lru_cache(maxsize=1024)
def peer_of(url: str) -> tuple[str, int]:
    """Return the host and the port of a URL, empty and 0 where it is none."""
    try:
        origin = split(url)[0]
    except BadUrl:
        return "", 0
    return origin.host, origin.port


def printable(url: str) -> str:
    """Return `url` as notices and logs show it: only its origin, as its path and query may be a secret."""
    try:
        return origin_of(url)
    except BadUrl:
        return "an address that cannot be called"


def _bracketed(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise BadUrl("the address in brackets is no IPv6 address") from None
