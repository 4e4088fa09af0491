"""What never leaves: calls to addresses that are not public, and requests that are no HTTP.

Canaries listen on three loopback addresses at one port; what matters is that nobody even connects.
The names of these tests are answered by `Names`; no name server is asked.
"""

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from receiver.addresses import BadUrl, Guard, guard
from receiver.exchange import Answer
from receiver.gateway import Call, CallFailed
from tests.receiver.rawserver import LOOPBACK_ONLY, OK, Names, calling, outcome, replaying, serving, silent

SHORT = 0.15
CANARIES = ("127.0.0.1", "127.0.0.2", "::1")
ADDRESSES = ("93.184.215.14", "2606:4700::1111")

# Spellings of 127.0.0.1: what the guard lets through when exactly that is allowed, and only then.
LOOPBACK_HOSTS = """
    127.0.0.1 2130706433 0x7f000001 0X7F000001 017700000001 0x7f.0.0.1 0x7F.0.0.1 0177.0.0.1 0x7f.1
    0177.1 127.1 127.0.1 127.0.0.01 127.0.0.0x1 127.00.00.01 127.0x0.0.1 0x7f.0x0.0x0.0x1 0177.00.00.01
    127.0x000001 0x7f.0.1 000000177.0.0.1 localhost LOCALHOST LocalHost localhost. 127.0.0.1.nip.test
"""
# Hosts that are never let through, whatever they are called.
BLOCKED_HOSTS = """
    127.0.0.2 2130706434 0x7f000002 017700000002 127.2 0177.0.0.2 127.0.0.02 127.255.255.254
    127.0.0.2. 127.0.0.0x2 0 00 0x0 0.0 0.0.0.0 0x00000000 4294967295 4294967296 4294967297 0x17f000001
    [::] [::1] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::0:1] [0::1] [::0.0.0.1]
    [::ffff:127.0.0.1] [::FFFF:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:7f00:0001] [::ffff:7f00:2]
    [::127.0.0.1] [::7f00:1] [::127.0.0.2] [64:ff9b::127.0.0.1] [64:ff9b::7f00:2] [64:ff9b:1::7f00:1]
    [2002:7f00:1::] [2002:7f00:1::1] [2002:a00:1::] [2001:0:7f00:1::] [2001::1] [2001:db8::1]
    [fc00::1] [fd00::1] [fd00:ec2::254] [fe80::1] [fec0::1] [ff02::1] [100::1] [3fff::1] [5f00::1]
    169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.43518 0xa9.0xfe.0xa9.0xfe
    [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [64:ff9b::a9fe:a9fe] [2002:a9fe:a9fe::]
    10.0.0.1 10.1 167772161 0xa000001 012.0.0.1 172.16.0.1 172.31.255.254 192.168.1.1 192.168.257
    3232235777 100.64.0.1 100.100.100.200 192.0.0.192 192.88.99.1 198.18.0.1 203.0.113.1
    168.63.129.16 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 037777777777
    ip6-localhost six.test meta.test alias.test mixed.test mixed6.test two.nip.test nx.test unknown.test
    1.2.3.08 1.2.3.4.5 256.0.0.1 127.0.0.256 0x 0x7g.1 xn--a xn--- -a.test a-.test
"""
# Texts that are no URL here, `{}` standing for the canaries' port.
BAD_URLS = (
    *("", "/", "//127.0.0.2:{}/", "127.0.0.2:{}", "127.0.0.2:{}/", "http:", "http:/", "http://", "http:///", "http://:{}/"),
    *("http:///127.0.0.2:{}/", "http:127.0.0.2:{}", "http:/127.0.0.2:{}/", "http:\\\\127.0.0.2:{}\\", "http:/\\127.0.0.2:{}/"),
    *("http://a@127.0.0.2:{}/", "http://a:b@127.0.0.2:{}/", "http://@127.0.0.2:{}/", "http://:@127.0.0.2:{}/"),
    *("http://127.0.0.1@127.0.0.2:{}/", "http://a@b@127.0.0.2:{}/", "http://public.test:80@127.0.0.2:{}/"),
    *("http://127.0.0.2:{}@public.test/", "http://127.0.0.2:{}\\@public.test/", "http://public.test\\@127.0.0.2:{}/"),
    *("http://127.0.0.2:{}#@public.test/", "http://public.test#@127.0.0.2:{}/", "http://127.0.0.2:{}/#", "http://127.0.0.2#:{}/"),
    *("http://127.0.0.2\\.public.test:{}/", "http://127.0.0.2:{}/\\", "http://127.0.0.2&@public.test:{}/"),
    *("http://127.0.0.2%00.public.test:{}/", "http://%31%32%37.0.0.2:{}/", "http://127%2e0%2e0%2e2:{}/", "http://%6c%6fcalhost:{}/"),
    *("http://127.0.0.2%2f@public.test:{}/", "http://[::1%25lo]:{}/", "http://[::1%lo]:{}/", "http://[fe80::1%25lo]:{}/"),
    *("http://[::1:{}/", "http://::1]:{}/", "http://::1:{}/", "http://[]:{}/", "http://[:]:{}/", "http://[127.0.0.2]:{}/"),
    *("http://[v1.::1]:{}/", "http://[::1]x:{}/", "http://x[::1]:{}/", "http://[::1].public.test:{}/", "http://[[::1]]:{}/"),
    *("http://[::ffff:127.0.0.256]:{}/", "http://[::ffff:0177.0.0.1]:{}/", "http://[1::2::3]:{}/", "http://[::12345]:{}/"),
    *(" http://127.0.0.2:{}/", "http://127.0.0.2:{}/ ", "http:// 127.0.0.2:{}/", "\thttp://127.0.0.2:{}/", "ht\ntp://127.0.0.2:{}/"),
    *("http://127.0.0.2\t:{}/", "http://127.0.0.2:{}\n/", "http://127.0.0.2:{}/\r\nx: y", "http://127.0.0.2:{}/\x00", "\x00http://127.0.0.2:{}/"),
    *("http://127.0.0.2\x00.public.test:{}/", "http://127.0.0.2 .public.test:{}/", "http://127.0.0.2:{}/a b", "\ufeffhttp://127.0.0.2:{}/"),
    *("http://１２７.0.0.2:{}/", "http://127。0。0。2:{}/", "http://127．0．0．2:{}/", "http://127｡0｡0｡2:{}/", "http://①②⑦.⓪.⓪.②:{}/"),
    *("http://𝟏𝟐𝟕.0.0.2:{}/", "http://٠x7f.0.0.2:{}/", "http://²130706434:{}/", "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{}/", "http://ｌocalhost:{}/", "http://loca\u00adlhost:{}/"),
    *("http://127.0.0.2\u200b:{}/", "http://localho\u017ft:{}/", "http://[\uff1a\uff1a1]:{}/", "http：//127.0.0.2:{}/", "http:／／127.0.0.2:{}/"),
    *("http://127.0.0.2／:{}/", "http://public.test＠127.0.0.2:{}/", "http://bücher.test:{}/", "http://\ud800:{}/"),
    *("http://127.0.0.2:/", "http://127.0.0.2:0/", "http://127.0.0.2:65536/", "http://127.0.0.2:22/", "http://127.0.0.2:+{}/", "http://127.0.0.2:-1/"),
    *("http://127.0.0.2: {}/", "http://127.0.0.2:{}:80/", "http://127.0.0.2:1e4/", "http://127.0.0.2:0x50/", "http://127.0.0.2:８０/", "http://127.0.0.2:{}x/"),
    *("http://127.0.0..2:{}/", "http://.127.0.0.2:{}/", "http://127.0.0.2..:{}/", "http://.:{}/", "http://..:{}/", "http://a..b:{}/"),
    *("http://" + "a" * 64 + ".test:{}/", "http://" + "a." * 127 + "b:{}/", "http://127.0.0.2:{}/" + "x" * 2048),
    *("file:///etc/passwd", "ftp://127.0.0.2:{}/", "gopher://127.0.0.2:{}/_x", "data:text/plain,x", "unix:///run/x.sock", "http+unix://%2Frun%2Fx/"),
    *("ws://127.0.0.2:{}/", "wss://127.0.0.2:{}/", "dict://127.0.0.2:{}/", "ldap://127.0.0.2:{}/", "jar:http://127.0.0.2:{}/!/x", "tftp://127.0.0.2:{}/"),
    *("HTTP://127.0.0.2:{}/", "Http://127.0.0.2:{}/", "httpss://127.0.0.2:{}/", "xhttp://127.0.0.2:{}/", "url:http://127.0.0.2:{}/", "javascript:x"),
)  # fmt: skip
NXDOMAIN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
TABLE: Mapping[str, Sequence[Sequence[str] | Exception]] = {
    "localhost": [["127.0.0.1"]],
    "localhost.": [["127.0.0.1"]],
    "127.0.0.1.nip.test": [["127.0.0.1"]],
    "two.nip.test": [["127.0.0.2"]],
    "ip6-localhost": [["::1"]],
    "six.test": [["::ffff:127.0.0.1", "::1"]],
    "meta.test": [["169.254.169.254"]],
    "alias.test": [["10.0.0.1"]],
    "mixed.test": [[*ADDRESSES, "127.0.0.2"]],
    "mixed6.test": [["127.0.0.1", "::1"]],
    "nx.test": [NXDOMAIN],
    "xn--a": [UnicodeError("label")],
}


class Canaries:
    """Listeners on one port of several loopback addresses that nobody should connect to."""

    def __init__(self, listeners: Mapping[str, socket.socket]) -> None:
        self._listeners = listeners
        self.port: int = listeners["127.0.0.1"].getsockname()[1]

    def hits(self) -> dict[str, int]:
        """How many connections came to each address since the last question."""
        return {host: self._taken(listener) for host, listener in self._listeners.items()}

    def _taken(self, listener: socket.socket) -> int:
        taken = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()
                taken += 1
        return taken


def listen(stack: contextlib.ExitStack, host: str, port: int) -> socket.socket:
    """A listener that the system serves and nobody accepts from."""
    listener = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
    listener.bind((host, port))
    listener.listen(256)
    listener.setblocking(False)
    return listener


def all_listen(stack: contextlib.ExitStack) -> dict[str, socket.socket]:
    """A listener for every canary's address; an address that this machine lacks is told and left out."""
    listeners = {"127.0.0.1": listen(stack, "127.0.0.1", 0)}
    port = listeners["127.0.0.1"].getsockname()[1]
    for host in CANARIES[1:]:
        try:
            listeners[host] = listen(stack, host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
            print(f"no canary on {host}: {error}")
    return listeners


@pytest.fixture
def canaries() -> Iterator[Canaries]:
    """Canaries on a port that is free at every address."""
    for _ in range(20):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            listeners = all_listen(stack)
            yield Canaries(listeners)
            return
    raise AssertionError("no port is free at every loopback address")
