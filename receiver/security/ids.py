"""Ids of jobs, events, deliveries and other objects: hexadecimal, and sorted by their time."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime

HEX = frozenset("0123456789abcdef")
ID_DIGITS = 32
"""Hexadecimal digits of an id: 12 of the time in milliseconds, 20 random ones."""
KIND_DIGITS = 16
"""Hexadecimal digits that tell apart the events of one subject."""
OWN = frozenset({"job", "msg"})
"""The kinds of subjects that lend their digits to the ids of their events: jobs, and messages of sources."""
CHANCE_BYTES = 10
"""Random bytes in an id: 80 bits."""
CHANCES = 256
"""Ids for which random bytes are read at once: one system call for each id took longer than all else."""


class IdGenerator:
    """A generator of ids that sort by time: 48 bits of milliseconds, then 80 random bits."""

    def __init__(self, now: Callable[[], datetime], entropy: Callable[[int], bytes]) -> None:
        self._now = now
        self._entropy = entropy
        self._chances: Iterator[str] = iter(())

    def new(self, kind: str, at: datetime | None = None) -> str:
        """Return a new id of `kind`, for example `job_...`, for the moment `at` or for now."""
        try:
            chance = next(self._chances)
        except StopIteration:
            chance = self._more()
        # Hexadecimal is quick to format and sorts as text. Why: receiver/README.md#hexadecimal-ids
        return f"{kind}_{int((at or self._now()).timestamp() * 1000):012x}{chance}"

    def _more(self) -> str:
        """Return the random digits of one id, after reading those of many ids from the system at once."""
        text = self._entropy(CHANCE_BYTES * CHANCES).hex()
        self._chances = iter(
            [text[at : at + 2 * CHANCE_BYTES] for at in range(0, len(text), 2 * CHANCE_BYTES)]
        )
        return next(self._chances)

    def __repr__(self) -> str:
        return "IdGenerator()"


def is_id(kind: str, text: str) -> bool:
    """Return whether `text` has the form of an id of `kind`."""
    prefix, _, rest = text.partition("_")
    length = ID_DIGITS + KIND_DIGITS if kind == "evt" else ID_DIGITS
    return prefix == kind and len(rest) == length and HEX.issuperset(rest)


def event_id(subject: str, kind: str) -> str:
    """Return the id of the event of `kind` about `subject`. The same arguments always give the same id.

    The id of an event of a job or message begins with the digits of that id, so that rows written together
    lie together in every index; random ids made a commit several times as large. Ids of other events do not
    begin with a time, because their subjects (endpoints, accounts) live longer than the stored history.
    """
    digest = hashlib.sha256(f"event|{subject}|{kind}".encode()).hexdigest()
    kind_of, _, digits = subject.rpartition("_")
    own = kind_of in OWN and len(digits) == ID_DIGITS and HEX.issuperset(digits)
    return f"evt_{digits if own else digest[:ID_DIGITS]}{digest[-KIND_DIGITS:]}"
