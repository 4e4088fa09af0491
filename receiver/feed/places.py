"""Places in the feed as clients hold them: a number with the mark of this deployment's feed."""

import re

from handlers.values import immutable

BEGINNING = "0"
"""The place before the first event, in every feed."""
FORM = re.compile(r"([0-9a-f]{8})-([0-9]{1,18})")  # 18 digits always fit into a 64-bit column


class ForeignPlace(ValueError):
    """The error for a place in the feed of another deployment."""


@immutable
class FeedPlaces:
    """The places of a feed that has this mark: moved with its database, and unlike that of any other."""

    mark: str

    def text(self, place: int) -> str:
        """Return a place as clients get it."""
        return f"{self.mark}-{place}"

    def read(self, text: str) -> int | None:
        """Return the place of a text, None where it has not the form of one. Raises `ForeignPlace`."""
        if text == BEGINNING:
            return 0
        found = FORM.fullmatch(text)
        if found is None:
            return None
        if found[1] != self.mark:
            raise ForeignPlace
        return int(found[2])
