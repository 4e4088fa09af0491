"""Whole inputs, kept until the provider has accepted the job: in the job's row, large ones in pieces.

A value costs one copy in the driver and one in the engine; the copies of a piece are small.
"""

import io
from collections.abc import Sequence

from receiver.bodies.parts import Parts
from receiver.store.statements import Transaction, insert, query

IN_ROW = 1 << 20
"""Bytes of the largest input that is stored in the job's row."""
PIECE = 256 << 10
"""Bytes of a stored piece: small, because the driver and the engine each copy it."""
AT_ONCE = 4
"""Maximum number of pieces that one statement reads."""
IN_PIECES = b"+"
"""The mark in the row of a job with an input in pieces; every real input is longer."""


def in_row(whole: Parts) -> bytes:
    """Return the value of `job.input`: the input, or the mark of an input in pieces."""
    return whole.joined() if len(whole) <= IN_ROW else IN_PIECES


def write(job_id: str, whole: Parts) -> Transaction[None]:
    """Store an input that is too large for the job's row, one piece for each statement."""
    if len(whole) > IN_ROW:
        for number, piece in enumerate(whole.pieces(PIECE)):
            yield insert("input_piece", [(job_id, number, piece)])


def read(job_id: str) -> Transaction[bytes | None]:
    """Return an input that was stored in pieces, None when it was removed."""
    whole = io.BytesIO()  # `getvalue` does not copy; a bytearray would need the memory twice
    number = -1
    while True:
        found = yield query(
            "select number, piece from input_piece where job = :job and number > :number "
            "order by number limit :most",
            job=job_id,
            number=number,
            most=AT_ONCE,
        )
        for row in found:
            whole.write(row["piece"])
            number = row["number"]
        if len(found) < AT_ONCE:
            return whole.getvalue() if number >= 0 else None


def forget(job_ids: Sequence[str]) -> Transaction[None]:
    """Remove the whole inputs of these jobs."""
    # Only rows with the mark keep a value here, so pieces cost further statements only where there are any.
    found = yield query(
        "update job set input = case when length(input) > 1 then null else input end "
        "where id in (:ids) and input is not null returning id, input",
        ids=list(job_ids),
    )
    if pieced := [row["id"] for row in found if row["input"] is not None]:
        yield query("delete from input_piece where job in (:ids)", ids=pieced)
        yield query("update job set input = null where id in (:ids)", ids=pieced)
