"""Places in the feed, and where a follower keeps its own."""

import os
import re
from pathlib import Path
from typing import Protocol

from ringback.errors import ConfigurationError

FORM = re.compile(r"[A-Za-z0-9_.-]{1,200}", re.ASCII)


class PlaceStore(Protocol):
    """A keeper of one place: a file, or a row of your database.

    `load` returns the place that was saved last, None before the first. `save` returns once it is durable.
    """

    def load(self) -> str | None:
        """Return the place."""

    def save(self, place: str) -> None:
        """Keep a place."""


class AsyncPlaceStore(Protocol):
    """A keeper of one place, for `AsyncRingback`."""

    async def load(self) -> str | None:
        """Return the place."""

    async def save(self, place: str) -> None:
        """Keep a place."""


class MemoryPlace:
    """A place that ends with the process."""

    def __init__(self, place: str | None = None) -> None:
        self.place = place

    def load(self) -> str | None:
        """Return the place."""
        return self.place

    def save(self, place: str) -> None:
        """Keep a place."""
        self.place = place


class FilePlace:
    """A place in a file, for one follower. A kill or a crash leaves the old place or the new one, whole."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def load(self) -> str | None:
        """Return the place, None without a file.

        Raises `ConfigurationError` for a file of something else, and where its folder does not exist.
        """
        try:
            text = self.path.read_text("ascii").strip()
        except FileNotFoundError:
            # Told now, and not once the first event was taken.
            if not self.path.parent.is_dir():
                raise ConfigurationError(f"{self.path.parent} is no folder; make it") from None
            return None
        except UnicodeDecodeError:
            # Refused below, like any other text that is no place.
            text = "\0"
        if text and not FORM.fullmatch(text):
            raise ConfigurationError(f"{self.path} holds no place in the feed; name another file")
        return text or None

    def save(self, place: str) -> None:
        """Keep a place. Returns once it would outlive a crash of the machine."""
        # Beside the file, because a renaming is atomic within one file system only.
        fresh = self.path.with_name(self.path.name + ".new")
        with fresh.open("w", encoding="ascii") as file:
            file.write(place + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        if os.name == "posix":
            # The renaming itself is durable once the folder is.
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
