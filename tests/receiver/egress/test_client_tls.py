"""Tests of real TLS with a throw-away authority: certificates, old protocols, and broken handshakes."""

import asyncio
import contextlib
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from receiver.egress.address_guard import guard
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.egress.http1 import Answer
from tests.receiver.authorities import NAME, Authorities
from tests.receiver.raw_server import (
    LIMIT,
    LOOPBACK_ONLY,
    OK,
    Names,
    Peer,
    RawServer,
    Script,
    outcome,
    serving,
    silent,
)

SHORT = 1.0
"""Seconds after which a call fails: long enough for a handshake on a slow machine."""


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    """Return the authorities for the whole module."""
    return Authorities(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def gateway(authorities: Authorities, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpClient]:
    """Yield an HTTP client that trusts the tests' authority. The tests' names resolve to 127.0.0.1."""
    table = {name: [["127.0.0.1"]] for name in (NAME, f"{NAME}.", "deep.wild.test", "wild.test")}
    Names(table).answer(monkeypatch)
    gateway = HttpClient(guard(["127.0.0.1/32", "::1/128"], http=False), ca_file=authorities.file)
    yield gateway
    await gateway.close()


class Secure:
    """A TLS server that counts connections and stores the requested names and the requests."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.connections = 0
        self.port = 0
        self.asked: list[str | None] = []
        self.requests: list[bytes] = []
        context.sni_callback = lambda _socket, name, _context: self.asked.append(name)

    def url(self, host: str = NAME) -> str:
        """Return the URL of this server under a name."""
        return f"https://{host}:{self.port}/"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every request."""
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(OK)
        writer.close()


@contextlib.asynccontextmanager
async def secure(context: ssl.SSLContext, host: str = "127.0.0.1") -> AsyncIterator[Secure]:
    """Yield a TLS server on loopback."""
    found = Secure(context)
    server = await asyncio.start_server(found.serve, host, 0, ssl=context)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()


# Who is believed.

BELIEVED = [
    (NAME, NAME, NAME),
    (NAME, NAME.upper(), NAME),
    (NAME, f"{NAME}.", NAME),
    ("*.wild.test", "deep.wild.test", "deep.wild.test"),
    ("127.0.0.1", "127.0.0.1", None),
]


@pytest.mark.parametrize(("certified", "called", "asked"), BELIEVED)
async def test_a_good_certificate_is_believed_and_the_connection_used_again(
    certified: str, called: str, asked: str | None, authorities: Authorities, gateway: HttpClient
) -> None:
    async with secure(authorities.context(certified)) as server:
        for fresh in (False, False, True):
            answer = await gateway.call(HttpCall(method="POST", url=server.url(called), fresh=fresh))
            assert (answer.status, answer.body) == (200, b"ok")
        await gateway.close()
    assert (server.connections, len(server.requests)) == (2, 3)
    assert set(server.asked) <= {asked}
    assert all(f"\r\nhost: {called.lower()}:{server.port}\r\n".encode() in one for one in server.requests)


async def test_an_ipv6_address_is_called_by_its_brackets(
    authorities: Authorities, gateway: HttpClient
) -> None:
    async with secure(authorities.context("::1"), "::1") as server:
        assert (
            await gateway.call(HttpCall(method="POST", url=server.url("[0:0::1]"), fresh=True))
        ).body == b"ok"
    assert f"\r\nhost: [::1]:{server.port}\r\n".encode() in server.requests[0]


Make = Callable[[Authorities], ssl.SSLContext]
DISBELIEVED: Mapping[str, tuple[Make, str, str]] = {
    "expired": (lambda one: one.context(NAME, days=-1), NAME, "expired"),
    "not yet valid": (lambda one: one.not_yet(), NAME, "not yet valid"),
    "wrong name": (lambda one: one.context("other.test"), NAME, "mismatch"),
    "name of another level": (lambda one: one.context("*.wild.test"), "wild.test", "mismatch"),
    "name for an address": (lambda one: one.context(NAME), "127.0.0.1", "mismatch"),
    "address for a name": (lambda one: one.context("127.0.0.1"), NAME, "mismatch"),
    "unknown authority": (lambda one: one.context(NAME, authority=one.other), NAME, "certificate"),
    "self-signed": (lambda one: one.self_signed(), NAME, "self"),
    "a common name only": (lambda one: one.common_name(), NAME, "mismatch"),
}


@pytest.mark.parametrize("case", DISBELIEVED)
async def test_a_bad_certificate_ends_the_call_before_a_request(
    case: str, authorities: Authorities, gateway: HttpClient
) -> None:
    make, called, fragment = DISBELIEVED[case]
    async with secure(make(authorities)) as server:
        failed = await outcome(gateway, HttpCall(method="POST", url=server.url(called), body=b"secret"))
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.written) == ("tls", False)
    assert failed.reason.startswith("certificate: ")
    assert fragment in failed.reason.lower()
    assert not server.requests


async def test_only_the_named_file_is_believed(authorities: Authorities) -> None:
    async with secure(authorities.context("127.0.0.1")) as server:
        failed = await outcome(
            HttpClient(LOOPBACK_ONLY), HttpCall(method="POST", url=server.url("127.0.0.1"))
        )
    assert isinstance(failed, CallFailed)
    assert (failed.stage, server.requests) == ("tls", [])


async def test_a_file_that_is_no_authority_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(OSError, match=r"."):
            HttpClient(LOOPBACK_ONLY, ca_file=tmp_path / name)


# Old protocols.


def outdated(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make `context` accept old protocols too, as far as the system's OpenSSL supports them. Returns it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
    return context


async def greet(server: Secure, willing: ssl.SSLContext) -> None:
    """Check that a client willing to use TLS 1.1 gets it here. Prints the reason where OpenSSL lacks it."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=willing)
    except ssl.SSLError as error:
        print(f"{ssl.OPENSSL_VERSION} itself speaks no TLS 1.1 any more: {error}")
        return
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.1"
    writer.close()


def lax(cafile: str | None = None) -> ssl.SSLContext:
    """Return the default context of a system that allows old protocols."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile)
    return outdated(context)


async def test_a_server_of_old_protocols_only_is_refused(
    authorities: Authorities, gateway: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ssl, "create_default_context", lax)
        careless = HttpClient(LOOPBACK_ONLY, ca_file=authorities.file)
    context = outdated(authorities.context("127.0.0.1"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with secure(context) as server:
        await greet(server, lax(str(authorities.file)))
        found = [
            await outcome(one, HttpCall(method="POST", url=server.url("127.0.0.1")))
            for one in (gateway, careless)
        ]
    for failed in found:
        assert isinstance(failed, CallFailed)
        assert failed.stage in {"tls", "connect"}, f"TLS 1.1 with {ssl.OPENSSL_VERSION}: {failed}"
        assert (failed.reason == "timed out", failed.written) == (False, False)
    assert not server.requests


async def test_the_newer_protocols_are_both_spoken(authorities: Authorities, gateway: HttpClient) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = authorities.context(NAME)
        context.minimum_version = context.maximum_version = version
        async with secure(context) as server:
            assert (await gateway.call(HttpCall(method="POST", url=server.url(), fresh=True))).body == b"ok"


# Handshakes that come to nothing.


def saying(data: bytes, *, reset: bool = False) -> Script:
    """Return a script that waits for the client's first bytes, sends `data`, and closes or resets."""

    async def script(peer: Peer) -> None:
        await asyncio.get_running_loop().sock_recv(peer.sock, 65536)
        await peer.send(data)
        if reset:
            peer.reset()

    return script


async def talking_first(peer: Peer) -> None:
    """Send data before the client does, as servers of other protocols do."""
    await peer.send(b"220 mail.test ESMTP ready\r\n")
    await peer.leave()


async def leaving_first(peer: Peer) -> None:
    """Close the connection at once."""
    peer.sock.shutdown(socket.SHUT_RDWR)


def secured(server: RawServer) -> str:
    """Return the https URL of a raw server."""
    return f"https://{NAME}:{server.port}/"


BROKEN: Mapping[str, Script] = {
    "plain http": saying(OK),
    "alert": saying(b"\x15\x03\x03\x00\x02\x02\x28"),
    "garbage": saying(bytes(range(256)) * 9),
    "closed": saying(b""),
    "reset": saying(b"", reset=True),
    "half a record": saying(b"\x16\x03\x03\x40\x00half"),
    "talking first": talking_first,
    "leaving first": leaving_first,
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_broken_handshake_is_our_error_with_nothing_written(case: str, gateway: HttpClient) -> None:
    async with serving(BROKEN[case]) as server:
        failed = await outcome(gateway, HttpCall(method="POST", url=secured(server), timeout=LIMIT))
    assert isinstance(failed, CallFailed)
    assert failed.stage in {"tls", "connect"}
    assert (failed.reason != "timed out", failed.written) == (True, False)


@pytest.mark.parametrize("case", ["closed", "reset"])
async def test_what_breaks_during_the_handshake_is_of_tls(case: str, gateway: HttpClient) -> None:
    async with serving(BROKEN[case]) as server:
        failed = await outcome(gateway, HttpCall(method="POST", url=secured(server), timeout=LIMIT))
    assert isinstance(failed, CallFailed)
    assert failed.stage == "tls"


@pytest.mark.parametrize("case", ["silence", "drip"])
async def test_a_handshake_that_hangs_is_ended_by_the_deadline(case: str, gateway: HttpClient) -> None:
    async def dripping_record(peer: Peer) -> None:
        await peer.send(b"\x16\x03\x03\x40\x00")
        await peer.drip(b"\x02")

    async with serving({"silence": silent, "drip": dripping_record}[case]) as server:
        failed = await outcome(gateway, HttpCall(method="POST", url=secured(server), timeout=SHORT))
        await server.gone(1)
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason, failed.written) == ("tls", "timed out", False)


async def test_silence_after_the_handshake_is_of_reading(
    authorities: Authorities, gateway: HttpClient
) -> None:
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await reader.read()
        writer.close()
        left.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authorities.context(NAME))
    url = f"https://{NAME}:{server.sockets[0].getsockname()[1]}/"
    answered = await outcome(gateway, HttpCall(method="POST", url=url, timeout=100))
    assert isinstance(answered, Answer)
    # The second call needs no handshake, however long that takes on a busy machine.
    failed = await outcome(gateway, HttpCall(method="POST", url=url, timeout=SHORT))
    await left.wait()
    server.close()
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason, failed.written) == ("read", "timed out", True)


async def test_plain_http_to_a_secure_port_is_our_error(
    authorities: Authorities, gateway: HttpClient
) -> None:
    async with secure(authorities.context(NAME)) as server:
        failed = await outcome(
            gateway, HttpCall(method="POST", url=server.url().replace("https", "http"), timeout=LIMIT)
        )
    assert isinstance(failed, CallFailed)
    assert failed.stage == "read"
    assert not server.requests


async def test_an_answer_cut_short_under_tls_is_no_answer(
    authorities: Authorities, gateway: HttpClient
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK[:-1])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authorities.context(NAME))
    found = await outcome(
        gateway, HttpCall(method="POST", url=f"https://{NAME}:{server.sockets[0].getsockname()[1]}/")
    )
    server.close()
    assert not isinstance(found, Answer)
    assert (found.stage, found.reason) == ("read", "the connection broke")
