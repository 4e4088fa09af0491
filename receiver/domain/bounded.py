"""Things that are kept by name, of which only the newest stay."""

from typing import TypeVar

Name = TypeVar("Name")
Thing = TypeVar("Thing")


def keep(kept: dict[Name, Thing], name: Name, thing: Thing, most: int) -> None:
    """Keep a thing as the newest of at most so many; the oldest makes room."""
    kept.pop(name, None)
    if len(kept) >= most:
        del kept[next(iter(kept))]
    kept[name] = thing
