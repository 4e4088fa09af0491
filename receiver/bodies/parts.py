"""Bytes in several parts, which are stored and sent piece by piece without a copy of the whole."""

from collections.abc import Iterator, Sequence


class Parts:
    """Bytes in parts. A part may be a view of a larger buffer, which it keeps in memory until `drop`."""

    __slots__ = ("_parts", "_size")

    def __init__(self, parts: Sequence[bytes | memoryview]) -> None:
        self._parts: Sequence[bytes | memoryview] | None = parts
        self._size = sum(map(len, parts))

    def __len__(self) -> int:
        """Return the number of bytes, also after `drop`."""
        return self._size

    def joined(self) -> bytes:
        """Return all bytes as one value, without a copy when they are one part."""
        parts = self._kept()
        if len(parts) == 1 and isinstance(parts[0], bytes):
            return parts[0]
        return b"".join(parts)

    def pieces(self, size: int) -> Iterator[bytes | memoryview]:
        """Yield all bytes in pieces of `size`; the last one may be shorter."""
        gathered: list[memoryview] = []
        room = size
        for part in self._kept():
            view = memoryview(part)
            while len(view) >= room:
                gathered.append(view[:room])
                view, room = view[room:], size
                yield gathered[0] if len(gathered) == 1 else b"".join(gathered)
                gathered = []
            if len(view):
                gathered.append(view)
                room -= len(view)
        if gathered:
            yield b"".join(gathered)

    def drop(self) -> None:
        """Free the bytes, for an owner that outlives their use. Reading them later raises `ValueError`."""
        self._parts = None

    def _kept(self) -> Sequence[bytes | memoryview]:
        if self._parts is None:
            raise ValueError("these bytes were dropped")
        return self._parts
