"""The ids under which the senders of sources know their messages: the same one twice is one event."""

import hashlib
from datetime import datetime

from receiver.store.statements import Transaction, ms, query


def add(source: str, sender_id: str, now: datetime) -> Transaction[bool]:
    """Store the sender's id of a message. Returns whether it is new."""
    # Hashed, so that each row has the same small size, whatever senders send.
    digest = hashlib.sha256(f"{source}|{sender_id}".encode("utf-8", "surrogatepass")).hexdigest()
    found = yield query(
        "insert into source_message (id, at) values (:id, :at) on conflict (id) do nothing returning id",
        id=digest,
        at=ms(now),
    )
    return bool(found)


def forget(before: datetime, limit: int) -> Transaction[int]:
    """Delete the oldest ids from before a moment: their events are gone as well. Returns their number."""
    found = yield query(
        "delete from source_message where id in "
        "(select id from source_message where at < :before order by at limit :limit) returning id",
        before=ms(before),
        limit=limit,
    )
    return len(found)
