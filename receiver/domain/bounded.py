"""Mappings that keep only their newest entries."""

from typing import TypeVar

Name = TypeVar("Name")
Thing = TypeVar("Thing")


def keep(kept: dict[Name, Thing], name: Name, thing: Thing, most: int) -> None:
    """Store `thing` as the newest of at most `most` entries. Removes the oldest entry when there are more."""
    # A dict keeps the order of insertion: the entry is removed first, so that it moves to the end.
    kept.pop(name, None)
    if len(kept) >= most:
        del kept[next(iter(kept))]
    kept[name] = thing
