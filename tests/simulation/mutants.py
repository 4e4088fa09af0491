"""The service with the mend of one fault taken out, to show that the simulation would have found it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


MUTANTS: Mapping[str, object] = {}


@contextmanager
def without(fault: str) -> Iterator[None]:
    """Take one mend out for a while."""
    yield
