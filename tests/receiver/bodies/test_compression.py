"""Compressed answers: those that are unpacked, those that are refused, and that no bomb goes off."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.bodies.compression import MEMBERS, UnpackedTooLarge, Unreadable, codings, unpacked
from tests.receiver.raw_server import BOUNDED

PLAIN = b'{"id": "g1", "status": "pending"}' * 9
LIMIT = 1000


def raw_deflate(data: bytes) -> bytes:
    """`data` without zlib's frame, as some servers send it."""
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(data) + engine.flush()


PACKED: dict[str, tuple[bytes, list[str]]] = {
    "gzip": (gzip.compress(PLAIN), ["gzip"]),
    "x-gzip": (gzip.compress(PLAIN), ["x-gzip"]),
    "members": (b"".join(gzip.compress(PLAIN[at : at + 50]) for at in range(0, len(PLAIN), 50)), ["gzip"]),
    "padded": (gzip.compress(PLAIN) + b"\x00" * 9, ["gzip"]),
    "deflate": (zlib.compress(PLAIN), ["deflate"]),
    "raw deflate": (raw_deflate(PLAIN), ["deflate"]),
    "deflate that is gzip": (gzip.compress(PLAIN), ["deflate"]),
    "twice": (gzip.compress(zlib.compress(PLAIN)), ["gzip", "deflate"]),
    "only said to be gzip": (PLAIN, ["gzip"]),
    "only said to be deflate": (PLAIN, ["deflate"]),
    "plain": (PLAIN, []),
}


@pytest.mark.parametrize("name", PACKED)
def test_what_is_packed_is_unpacked(name: str) -> None:
    body, names = PACKED[name]
    assert unpacked(body, names, len(PLAIN)) == PLAIN


@pytest.mark.parametrize("name", [name for name in PACKED if name != "plain" and "only" not in name])
def test_what_is_over_the_limit_once_unpacked_is_refused(name: str) -> None:
    body, names = PACKED[name]
    with pytest.raises(UnpackedTooLarge):
        unpacked(body, names, len(PLAIN) - 1)


DAMAGED: dict[str, tuple[bytes, list[str]]] = {
    "cut gzip": (gzip.compress(PLAIN)[:-1], ["gzip"]),
    "cut deflate": (zlib.compress(PLAIN)[:-1], ["deflate"]),
    "wrong sum": (gzip.compress(PLAIN)[:-8] + b"\x00" * 8, ["gzip"]),
    "too many members": (gzip.compress(b"") * (MEMBERS + 1), ["gzip"]),
    "too many layers": (PLAIN, ["gzip", "gzip", "gzip"]),
    "not read": (b"\x0b\x02\x80ok\x03", ["br"]),
    "garbage": (b"\xff\x00garbage", ["deflate"]),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_or_strange_is_refused(name: str) -> None:
    body, names = DAMAGED[name]
    with pytest.raises(Unreadable):
        unpacked(body, names, LIMIT)


def test_no_body_needs_no_unpacking() -> None:
    assert [unpacked(b"", [name], LIMIT) for name in ("gzip", "deflate")] == [b"", b""]


@pytest.mark.parametrize(
    "pack", [gzip.compress, zlib.compress, lambda data: gzip.compress(gzip.compress(data))]
)
def test_a_bomb_is_unpacked_no_further_than_the_limit(pack: object) -> None:
    bomb = pack(bytes(64 << 20))  # type: ignore[operator]  # one of the functions above
    names = ["deflate"] if pack is zlib.compress else ["gzip", "gzip"][: 1 + (pack is not gzip.compress)]
    with pytest.raises(UnpackedTooLarge):
        unpacked(bomb, names, LIMIT)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], []),
        (["GZip"], ["gzip"]),
        (["identity"], []),
        (["deflate, gzip"], ["gzip", "deflate"]),
        (["deflate", " gzip "], ["gzip", "deflate"]),
        (["gzip,", "identity"], ["gzip"]),
    ],
)
def test_codings_are_undone_from_the_outermost(values: list[str], names: list[str]) -> None:
    assert codings(values) == names


@BOUNDED
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda some: b"\x1f\x8b\x08\x00" + some))
def test_any_bytes_are_unpacked_or_refused(body: bytes) -> None:
    for name in ("gzip", "deflate"):
        try:
            assert len(unpacked(body, [name], LIMIT)) <= LIMIT
        except (Unreadable, UnpackedTooLarge):
            continue
