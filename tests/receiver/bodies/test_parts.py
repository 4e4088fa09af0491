"""Bytes in parts: the same bytes in pieces of any size, however they lie."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.bodies.parts import Parts


@given(st.lists(st.binary(max_size=20), max_size=8), st.integers(1, 30))
def test_pieces_are_the_whole_cut_at_every_so_many_bytes(parts: list[bytes], size: int) -> None:
    whole = b"".join(parts)
    views = Parts([memoryview(one) if number % 2 else one for number, one in enumerate(parts)])
    pieces = [bytes(piece) for piece in views.pieces(size)]
    assert pieces == [whole[place : place + size] for place in range(0, len(whole), size)]
    assert (len(views), views.joined()) == (len(whole), whole)


def test_a_piece_within_a_part_is_no_copy() -> None:
    whole = bytes(range(256)) * 4
    pieces = list(Parts([memoryview(whole)]).pieces(100))
    assert [piece.obj for piece in pieces[:-1] if isinstance(piece, memoryview)] == [whole] * 10
    assert Parts([whole]).joined() is whole


def test_what_was_dropped_is_never_taken_for_nothing() -> None:
    parts = Parts([b"abc"])
    parts.drop()
    assert len(parts) == 3
    for use in (parts.joined, lambda: list(parts.pieces(2))):
        with pytest.raises(ValueError, match="dropped"):
            use()
