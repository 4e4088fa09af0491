"""Tests of calls that are never sent: to addresses that are not public, and requests that are no valid HTTP.

Canaries listen on one port of three loopback addresses, and no connection may even reach them. `Names`
resolves the names of these tests, so no name server is called.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from receiver.egress.address_guard import BadUrl, Guard, guard
from receiver.egress.client import CallFailed, HttpCall
from receiver.egress.http1 import Answer
from receiver.egress.resolver import NO_ADDRESS, NO_ANSWER, Unresolved
from tests.receiver.raw_server import (
    LIMIT,
    LOOPBACK_ONLY,
    OK,
    Names,
    calling,
    outcome,
    replaying,
    serving,
    silent,
)

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
# Texts that are no URL here: `{}` stands for the canaries' port, the pictures for blanks and controls.
NO_URLS = """
    / //127.0.0.2:{}/ 127.0.0.2:{} 127.0.0.2:{}/ http: http:/ http:// http:///  http://:{}/ http:///127.0.0.2:{}/
    http:127.0.0.2:{} http:/127.0.0.2:{}/ http:\\\\127.0.0.2:{}\\ http:/\\127.0.0.2:{}/ http://\\127.0.0.2:{}/
    http://a@127.0.0.2:{}/ http://a:b@127.0.0.2:{}/ http://@127.0.0.2:{}/ http://:@127.0.0.2:{}/
    http://127.0.0.1@127.0.0.2:{}/ http://a@b@127.0.0.2:{}/ http://public.test:80@127.0.0.2:{}/
    http://127.0.0.2:{}@public.test/ http://127.0.0.2:{}\\@public.test/ http://public.test\\@127.0.0.2:{}/
    http://127.0.0.2:{}#@public.test/ http://public.test#@127.0.0.2:{}/ http://127.0.0.2#:{}/ http://127.0.0.2:{}/#
    http://127.0.0.2\\.public.test:{}/ http://127.0.0.2:{}/\\ http://127.0.0.2&@public.test:{}/ http://*:{}/
    http://127.0.0.2%00.public.test:{}/ http://%31%32%37.0.0.2:{}/ http://127%2e0%2e0%2e2:{}/
    http://%6c%6fcalhost:{}/ http://127.0.0.2%2f@public.test:{}/ http://127.0.0.2%23.public.test:{}/
    http://[::1%25lo]:{}/ http://[::1%lo]:{}/ http://[fe80::1%25lo]:{}/ http://[::1:{}/ http://::1]:{}/
    http://::1:{}/ http://[]:{}/ http://[:]:{}/ http://[127.0.0.2]:{}/ http://[v1.::1]:{}/ http://[::1]x:{}/
    http://x[::1]:{}/ http://[::1].public.test:{}/ http://[[::1]]:{}/ http://[::ffff:127.0.0.256]:{}/
    http://[::ffff:0177.0.0.1]:{}/ http://[1::2::3]:{}/ http://[::12345]:{}/ http://[::1]/@public.test:{}\\
    ␠http://127.0.0.2:{}/ http://127.0.0.2:{}/␠ http://␠127.0.0.2:{}/ ␉http://127.0.0.2:{}/ ht␊tp://127.0.0.2:{}/
    http://127.0.0.2␉:{}/ http://127.0.0.2:{}␊/ http://127.0.0.2:{}/␍␊x:␠y http://127.0.0.2:{}/␀
    ␀http://127.0.0.2:{}/ http://127.0.0.2␀.public.test:{}/ http://127.0.0.2␠.public.test:{}/
    http://127.0.0.2:{}/a␠b \ufeffhttp://127.0.0.2:{}/ http://127.0.0.2:{}/␊ http://127.0.0.2␍:{}/
    http://\uff11\uff12\uff17.0.0.2:{}/ http://127\u30020\u30020\u30022:{}/ http://127\uff0e0\uff0e0\uff0e2:{}/
    http://127\uff610\uff610\uff612:{}/ http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2461:{}/ http://\u00b2.0.0.2:{}/
    http://\U0001d7cf\U0001d7d0\U0001d7d5.0.0.2:{}/ http://\u0660x7f.0.0.2:{}/ http://127.0.0.2\u200b:{}/
    http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{}/ http://\uff4cocalhost:{}/
    http://loca\u00adlhost:{}/ http://localho\u017ft:{}/ http://[\uff1a\uff1a1]:{}/ http\uff1a//127.0.0.2:{}/
    http:\uff0f\uff0f127.0.0.2:{}/ http://127.0.0.2\uff0f:{}/ http://public.test\uff20127.0.0.2:{}/
    http://b\u00fccher.test:{}/ http://\ud800:{}/ http://127.0.0.2:\uff18\uff10/ http://127.0.0.2\u3000:{}/
    http://127.0.0.2:/ http://127.0.0.2:0/ http://127.0.0.2:65536/ http://127.0.0.2:22/ http://127.0.0.2:25/
    http://127.0.0.2:+{}/ http://127.0.0.2:-1/ http://127.0.0.2:␠{}/ http://127.0.0.2:{}:80/ http://127.0.0.2:081/
    http://127.0.0.2:1e4/ http://127.0.0.2:0x50/ http://127.0.0.2:{}x/ http://127.0.0.2:{}0000/
    http://127.0.0..2:{}/ http://.127.0.0.2:{}/ http://127.0.0.2..:{}/ http://.:{}/ http://..:{}/ http://a..b:{}/
    file:///etc/passwd file://127.0.0.2:{}/ ftp://127.0.0.2:{}/ gopher://127.0.0.2:{}/_x data:text/plain,x
    unix:///run/x.sock http+unix://%2Frun%2Fx/ ws://127.0.0.2:{}/ wss://127.0.0.2:{}/ dict://127.0.0.2:{}/
    ldap://127.0.0.2:{}/ jar:http://127.0.0.2:{}/!/x tftp://127.0.0.2:{}/ HTTP://127.0.0.2:{}/ hTTp://127.0.0.2:{}/
    httpss://127.0.0.2:{}/ xhttp://127.0.0.2:{}/ url:http://127.0.0.2:{}/ javascript:x blob:http://127.0.0.2:{}/
"""
PICTURES = str.maketrans("␠␉␊␍␀", " \t\n\r\x00")
LONG_HOSTS = ("a" * 64 + ".test", "a." * 127 + "b", "1" * 400)
BAD_URLS = [
    "",
    *(text.translate(PICTURES) for text in NO_URLS.split()),
    *(f"http://{host}:{{}}/" for host in LONG_HOSTS),
    "http://127.0.0.2:{}/" + "x" * 2048,
]
NXDOMAIN = Unresolved(NO_ADDRESS)
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
}


class Canaries:
    """Listeners on one port of several loopback addresses, which must not get a connection."""

    def __init__(self, listeners: Mapping[str, socket.socket]) -> None:
        self._listeners = listeners
        self.port: int = listeners["127.0.0.1"].getsockname()[1]

    def hits(self) -> dict[str, int]:
        """Return the number of connections to each address since the last call."""
        return {host: self._taken(listener) for host, listener in self._listeners.items()}

    def _taken(self, listener: socket.socket) -> int:
        taken = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()
                taken += 1
        return taken


def listen(stack: contextlib.ExitStack, host: str, port: int) -> socket.socket:
    """Return a listener. The system completes its connections, and no program accepts them."""
    listener = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
    listener.bind((host, port))
    listener.listen(256)
    listener.setblocking(False)
    return listener


def all_listen(stack: contextlib.ExitStack) -> dict[str, socket.socket]:
    """Return a listener for each canary's address. Prints the addresses that this machine lacks."""
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


def claim(stack: contextlib.ExitStack) -> Canaries:
    """Return canaries on a port that is free at every address."""
    for _ in range(20):
        with contextlib.ExitStack() as trying, contextlib.suppress(OSError):
            found = Canaries(all_listen(trying))
            stack.enter_context(trying.pop_all())
            return found
    raise AssertionError("no port is free at every loopback address")


@pytest.fixture
def canaries() -> Iterator[Canaries]:
    """Yield canaries, which must not get a connection."""
    with contextlib.ExitStack() as stack:
        yield claim(stack)


class Dials:
    """A substitute for the loop's `create_connection` that stores each host and refuses the connection."""

    def __init__(self) -> None:
        self.to: list[str] = []

    async def create_connection(self, _protocol: Any, host: str, _port: int, **_options: Any) -> None:
        """Store the host and refuse the connection, in place of `loop.create_connection`."""
        self.to.append(host)
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def answered_by(names: Names, monkeypatch: pytest.MonkeyPatch) -> Names:
    """Make `names` the machine's name servers. Returns them."""
    names.answer(monkeypatch)
    return names


def nowhere(monkeypatch: pytest.MonkeyPatch) -> Dials:
    """Make the running loop refuse every connection. Returns the refused ones."""
    dials = Dials()
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", dials.create_connection)
    return dials


# The corpus.

HOSTS = [*LOOPBACK_HOSTS.split(), *BLOCKED_HOSTS.split()]
RULES = {"default": guard([], http=False), "http": guard([], http=True), "allow": LOOPBACK_ONLY}


def urls(hosts: Sequence[str], port: int) -> list[str]:
    """Return the URLs of a corpus, with both schemes."""
    templates = [*(f"http://{host}:{{}}/" for host in hosts), *BAD_URLS]
    plain = [template.replace("{}", str(port)) for template in templates]
    return [*plain, *(url.replace("http://", "https://", 1) for url in plain if "http://" in url)]


def test_the_corpus_is_large_and_repeats_nothing() -> None:
    corpus = [*HOSTS, *BAD_URLS]
    assert len(set(corpus)) == len(corpus) >= 200


@pytest.mark.parametrize("rule", RULES)
async def test_nobody_is_called_who_may_not_be(
    rule: str, canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered_by(Names(TABLE), monkeypatch)
    corpus = urls(BLOCKED_HOSTS.split() if rule == "allow" else HOSTS, canaries.port)
    async with calling(RULES[rule]) as gateway:
        found = await asyncio.gather(
            *[outcome(gateway, HttpCall(method="POST", url=url, timeout=LIMIT)) for url in corpus]
        )
    assert not [
        (url, one)
        for url, one in zip(corpus, found, strict=True)
        if isinstance(one, Answer) or one.stage not in {"request", "resolve"} or one.written
    ]
    assert not any(canaries.hits().values())


def test_the_canaries_notice_a_mere_connection(canaries: Canaries) -> None:
    for host in canaries.hits():
        socket.create_connection((host, canaries.port)).close()
        assert canaries.hits() == {other: int(other == host) for other in canaries.hits()}


async def test_what_is_allowed_is_called_however_it_is_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    answered_by(Names(TABLE), monkeypatch)
    hosts = LOOPBACK_HOSTS.split()
    async with serving(replaying(OK)) as server, calling() as gateway:
        calls = [HttpCall(method="POST", url=server.url(host=host), fresh=True) for host in hosts]
        found = await asyncio.gather(*[outcome(gateway, call) for call in calls])
    assert [host for host, one in zip(hosts, found, strict=True) if not isinstance(one, Answer)] == []
    assert len(server.peers) == len(hosts)


def spelled(host: str) -> bool:
    """Return whether the system resolves `host` without a name server."""
    if host.lower().removesuffix(".").split(".")[-1] == "localhost":
        return True
    try:
        socket.getaddrinfo(host.strip("[]"), 80, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True


async def test_what_shows_without_a_name_server_needs_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = answered_by(Names(TABLE), monkeypatch)
    async with calling(Guard()) as gateway:
        for url in urls([host for host in HOSTS if spelled(host)], 8080):
            with pytest.raises(BadUrl):
                gateway.check(url)
        for host in (host for host in HOSTS if not spelled(host)):
            gateway.check(f"https://{host}:8080/")
            with pytest.raises(BadUrl, match="https"):
                gateway.check(f"http://{host}:8080/")
    async with calling() as gateway:
        gateway.check("http://localhost/")
    assert not names.asked


# Names that answer one thing and then another.


async def test_the_dialled_address_is_the_checked_address(monkeypatch: pytest.MonkeyPatch) -> None:
    names = answered_by(Names({"hooks.test": [ADDRESSES[:1], ["127.0.0.1"], ["10.0.0.1"]]}), monkeypatch)
    dials = nowhere(monkeypatch)
    async with calling(Guard()) as gateway:
        stages = []
        for _ in range(3):
            failed = await outcome(gateway, HttpCall(method="POST", url="https://hooks.test/"))
            stages.append(failed.stage if isinstance(failed, CallFailed) else "")
    assert stages == ["connect", "resolve", "resolve"]
    assert names.asked == ["hooks.test"] * 3
    assert dials.to == [ADDRESSES[0]]


MANY = [f"93.184.215.{number}" for number in range(100)]
RESOLVED: Mapping[str, tuple[Sequence[str] | Exception, str, Sequence[str]]] = {
    "all are tried once": ([*ADDRESSES, ADDRESSES[0]], "connect", ADDRESSES),
    "a hundred": (MANY, "connect", MANY),
    "first of a hundred": (["127.0.0.2", *MANY[1:]], "resolve", []),
    "one of a hundred": ([*MANY[:50], "::1", *MANY[50:]], "resolve", []),
    "last of a hundred": ([*MANY[1:], "169.254.169.254"], "resolve", []),
    "a and aaaa": ([ADDRESSES[0], "fd00::1"], "resolve", []),
    "scoped": (["fe80::1%lo"], "resolve", []),
    "none": ([], "resolve", []),
    "no such name": (NXDOMAIN, "resolve", []),
    "no answer": (Unresolved(NO_ANSWER), "resolve", []),
    "no address at all": (["fe80::1%%"], "resolve", []),
}


@pytest.mark.parametrize("name", RESOLVED)
async def test_one_bad_address_refuses_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, stage, dialled = RESOLVED[name]
    answered_by(Names({"hooks.test": [answer]}), monkeypatch)
    dials = nowhere(monkeypatch)
    async with calling(Guard()) as gateway:
        failed = await outcome(gateway, HttpCall(method="POST", url="https://hooks.test/"))
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.written) == (stage, False)
    assert dials.to == list(dialled)


@pytest.mark.parametrize("http", [False, True])
async def test_plain_http_to_the_public_is_an_opt_in(http: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    answered_by(Names({"hooks.test": [ADDRESSES]}), monkeypatch)
    dials = nowhere(monkeypatch)
    async with calling(guard([], http=http)) as gateway:
        for host in ("hooks.test", ADDRESSES[0]):
            await outcome(gateway, HttpCall(method="POST", url=f"http://{host}/"))
    assert dials.to == ([*ADDRESSES, ADDRESSES[0]] if http else [])


async def test_reuse_stays_on_the_checked_address(monkeypatch: pytest.MonkeyPatch) -> None:
    names = answered_by(Names({"hooks.test": [["127.0.0.1"], ["127.0.0.2"]]}), monkeypatch)
    async with serving(replaying(OK, OK)) as server, calling() as gateway:
        url = server.url(host="hooks.test")
        found = [
            await outcome(gateway, HttpCall(method="POST", url=url, fresh=fresh))
            for fresh in (False, False, True)
        ]
    assert [isinstance(one, Answer) for one in found] == [True, True, False]
    assert (len(names.asked), len(server.peers)) == (2, 1)


async def test_the_next_address_is_tried_when_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    answered_by(Names({"hooks.test": [["127.0.0.2", "127.0.0.1"]]}), monkeypatch)
    async with serving(replaying(OK)) as server, calling(guard(["127.0.0.0/8"], http=False)) as gateway:
        assert (await gateway.call(HttpCall(method="POST", url=server.url(host="hooks.test")))).body == b"ok"


# Requests.

SMUGGLED = ["\r", "\n", "\r\nx:", "\x00", "\r\n\r\nGET", "\u2028", "�", "\x7f"]
REFUSED: list[tuple[str, str, str]] = [
    *((f"a{bad}b", "v", "/") for bad in SMUGGLED),
    *(("a", f"v{bad}w", "/") for bad in SMUGGLED),
    *(("a", "v", f"/p{bad}q") for bad in SMUGGLED),
    *(("a", "v", f"/?p{bad}q") for bad in SMUGGLED),
]


@pytest.mark.parametrize(("name", "value", "path"), REFUSED, ids=ascii)
async def test_what_is_no_request_is_refused_before_a_byte(name: str, value: str, path: str) -> None:
    async with serving(silent) as server, calling() as gateway:
        failed = await outcome(
            gateway, HttpCall(method="POST", url=server.url(path), headers=[("ok", "ok"), (name, value)])
        )
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.written, server.peers) == ("request", False, [])


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_redirects_are_answers(status: int) -> None:
    async with serving(silent) as elsewhere:
        raw = f"HTTP/1.1 {status} Go\r\nlocation: {elsewhere.url()}\r\ncontent-length: 0\r\n\r\n".encode()
        async with serving(replaying(raw)) as server, calling() as gateway:
            answer = await gateway.call(HttpCall(method="POST", url=server.url()))
    assert (answer.status, answer.header("location")) == (status, elsewhere.url())
    assert not elsewhere.peers


async def test_the_environment_is_not_asked_for_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(silent) as proxy, serving(replaying(OK)) as server, calling() as gateway:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        assert (await gateway.call(HttpCall(method="GET", url=server.url()))).body == b"ok"
    assert not proxy.peers


async def test_errors_and_calls_do_not_show_what_is_secret() -> None:
    call = HttpCall(
        method="POST", url="http://127.0.0.2/", headers=[("authorization", "s3cret")], body=b"s3cret"
    )
    async with calling() as gateway:
        failed = await outcome(gateway, call)
    assert "s3cret" not in repr(call) + repr(failed) + str(failed)
    assert "s3cret" not in repr(Answer(200, (("a", "s3cret"),), b"s3cret"))
