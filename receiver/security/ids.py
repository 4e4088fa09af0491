"""Ids of jobs, events, deliveries and all else: hexadecimal, and sorted by their time."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime

HEX = frozenset("0123456789abcdef")
ID_DIGITS = 32
KIND_DIGITS = 16
CHANCE_BYTES = 10
CHANCES = 256


class IdGenerator:
    """Makes ids that sort by time: 48 bits of milliseconds, 80 bits of chance."""

    def __init__(self, now: Callable[[], datetime], entropy: Callable[[int], bytes]) -> None:
        self._now = now
        self._entropy = entropy
        self._chances: Iterator[str] = iter(())

    def new(self, kind: str, at: datetime | None = None) -> str:
        """A new id of `kind`, for example `job_...`; of the moment `at`, or of now."""
        try:
            chance = next(self._chances)
        except StopIteration:
            chance = self._more()
        return f"{kind}_{int((at or self._now()).timestamp() * 1000):012x}{chance}"

    def _more(self) -> str:
        """Chance for many ids at once: asking the system for each took longer than all else."""
        text = self._entropy(CHANCE_BYTES * CHANCES).hex()
        self._chances = iter(
            [text[at : at + 2 * CHANCE_BYTES] for at in range(0, len(text), 2 * CHANCE_BYTES)]
        )
        return next(self._chances)

    def __repr__(self) -> str:
        return "Ids()"


def is_id(kind: str, text: str) -> bool:
    """Whether `text` has the form of an id of `kind`."""
    prefix, _, rest = text.partition("_")
    length = ID_DIGITS + KIND_DIGITS if kind == "evt" else ID_DIGITS
    return prefix == kind and len(rest) == length and HEX.issuperset(rest)


def event_id(subject: str, kind: str) -> str:
    """The id of the event of `kind` about `subject`: the same words give the same id.

    It begins with the job's own digits where the subject is one, so that what happens together lies together
    in every index; random ids made a commit several times as large. Others do not begin with a time: they
    are about what lives longer than its history.
    """
    digest = hashlib.sha256(f"event|{subject}|{kind}".encode()).hexdigest()
    kind_of, _, digits = subject.rpartition("_")
    own = kind_of == "job" and len(digits) == ID_DIGITS and HEX.issuperset(digits)
    return f"evt_{digits if own else digest[:ID_DIGITS]}{digest[-KIND_DIGITS:]}"
