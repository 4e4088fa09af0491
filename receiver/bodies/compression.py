"""Bodies that came compressed although they were asked for plain: unpacked, to a limit.

Pure. gzip (in several members, too) and deflate (with and without zlib's own frame) are read. A body that is
not in the coding it claims is taken as it is, because such claims are met.
"""

import zlib

CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
MEMBERS = 16
"""Parts of a gzip body; a tiny one costs little to send and a copy of the rest to unpack."""
LAYERS = 2
GZIP_MAGIC = b"\x1f\x8b"
GZIP, FRAMED, RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class Unreadable(ValueError):
    """The body is damaged, cut, or in a coding that we do not read."""


class UnpackedTooLarge(ValueError):
    """The body is over the limit once it is unpacked."""


def codings(values: list[str]) -> list[str]:
    """Return the codings of a body, the outermost first, `identity` left out, from its header's values."""
    names = [name.strip().lower() for value in values for name in value.split(",")]
    return [name for name in reversed(names) if name not in {"", "identity"}]


def unpacked(body: bytes, names: list[str], limit: int) -> bytes:
    """Undo the codings `names`; raises `Unreadable` or `UnpackedTooLarge`."""
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
    for form in (FRAMED, RAW):
        try:
            return _one(body, form, limit)[0]
        except Unreadable:
            continue
    if body.lstrip()[:1] in {b"{", b"["}:
        return body
    raise Unreadable("the compressed answer is damaged or cut")


def _one(body: bytes, form: int, limit: int) -> tuple[bytes, bytes]:
    """Unpack one stream; bytes behind it are left over."""
    engine = zlib.decompressobj(form)
    try:
        found = engine.decompress(body, limit + 1)
    except zlib.error:
        raise Unreadable("the compressed answer is damaged or cut") from None
    if len(found) > limit:
        raise UnpackedTooLarge("the answer is too large")
    if not engine.eof:
        raise Unreadable("the compressed answer is damaged or cut")
    return found, engine.unused_data
