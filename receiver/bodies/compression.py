"""Decompression, up to a limit, of bodies that are compressed although an uncompressed one was requested.

Pure. gzip (also in several members) and deflate (with and without zlib's own frame) are supported. A body
that is not in the coding of its header is returned unchanged, because such headers occur.
"""

import zlib

CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
MEMBERS = 16
"""The most members of a gzip body: a tiny one costs little to send, but unpacking it copies the rest."""
LAYERS = 2
"""The most codings of one body: each costs a whole decompression up to the limit."""
GZIP_MAGIC = b"\x1f\x8b"
GZIP, FRAMED, RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class Unreadable(ValueError):
    """A body that is damaged, cut, or in a coding that is not supported."""


class UnpackedTooLarge(ValueError):
    """A body over the limit once it is decompressed."""


def codings(values: list[str]) -> list[str]:
    """Return the codings in the values of `content-encoding`, the outermost first, without `identity`."""
    names = [name.strip().lower() for value in values for name in value.split(",")]
    return [name for name in reversed(names) if name not in {"", "identity"}]


def unpacked(body: bytes, names: list[str], limit: int) -> bytes:
    """Return `body` with the codings `names` undone. Raises `Unreadable` or `UnpackedTooLarge`."""
    if not CODINGS.issuperset(names) or len(names) > LAYERS:
        raise Unreadable(f"the answer is compressed in a way that is not read: {', '.join(names)[:100]}")
    for name in names:
        body = _inflated(body, limit) if name == "deflate" else _gunzipped(body, limit)
    return body


def _gunzipped(body: bytes, limit: int) -> bytes:
    found = bytearray()
    for _ in range(MEMBERS):
        if not body.startswith(GZIP_MAGIC):
            return bytes(found) if found or not body else body
        part, body = _one(body, GZIP, limit - len(found))
        found += part
    if body.startswith(GZIP_MAGIC):
        raise Unreadable("the answer is compressed in too many parts")
    return bytes(found)


def _inflated(body: bytes, limit: int) -> bytes:
    if not body:
        return body
    if body.startswith(GZIP_MAGIC):
        return _gunzipped(body, limit)
    # `deflate` is the zlib format, but some servers send the raw stream without its frame.
    for form in (FRAMED, RAW):
        try:
            return _one(body, form, limit)[0]
        except Unreadable:
            continue
    if body.lstrip()[:1] in {b"{", b"["}:
        return body
    raise Unreadable("the compressed answer is damaged or cut")


def _one(body: bytes, form: int, limit: int) -> tuple[bytes, bytes]:
    """Decompress one stream. Returns its content and the bytes that follow it."""
    engine = zlib.decompressobj(form)
    try:
        # One byte above the limit shows that a body is too large, without decompressing the rest of a bomb.
        found = engine.decompress(body, limit + 1)
    except zlib.error:
        raise Unreadable("the compressed answer is damaged or cut") from None
    if len(found) > limit:
        raise UnpackedTooLarge("the answer is too large")
    if not engine.eof:
        raise Unreadable("the compressed answer is damaged or cut")
    return found, engine.unused_data
