"""Downloads: the files behind asset links, streamed through the service.

No request for a file carries a key: a provider whose files need one tells a link that works without it
(`asset_links.py`), so no redirect and no other origin can learn a key.
Why: receiver/README.md#a-download-has-no-key
"""

import contextlib
from collections import Counter
from dataclasses import dataclass, field

from handlers.contract import Kind
from receiver.domain.errors import Busy, ProviderUnavailable
from receiver.egress import redirects
from receiver.egress.body_stream import BodyStream
from receiver.egress.client import CallFailed, HttpClient
from receiver.egress.redirects import StreamedAnswer
from receiver.providers.asset_links import AssetLinks, FoundAsset, Place
from receiver.providers.file_head import FileHead, PartWanted, file_head

AT_ONCE = 64
"""The most downloads at once in one process; each takes up to half a MiB."""
OF_ONE_FILE = 16
"""The most of them of one file: a link needs no API key, and one that spread must not take all places."""
NO_LONGER_GOOD = frozenset({401, 403, 404, 410})
"""The answers of a file's server to a URL that may have ended: a fresh one is looked for, once."""


@dataclass(slots=True, kw_only=True)
class Download:
    """A file on its way to one reader. It must be closed."""

    job_id: str
    index: int
    kind: Kind
    mime_type: str | None
    head: FileHead
    body: BodyStream
    _place: "_Place"

    def close(self) -> None:
        """Close the connection to the file's server, and give the place back."""
        self.body.close()
        self._place.leave()


@dataclass(slots=True)
class _Place:
    """A place among the downloads at once, given back once."""

    under_way: Counter[Place]
    key: Place
    taken: bool = True

    def leave(self) -> None:
        if self.taken:
            self.taken = False
            self.under_way[self.key] -= 1
            if not self.under_way[self.key]:
                del self.under_way[self.key]


@dataclass(slots=True)
class Downloads:
    """The downloads of one process."""

    links: AssetLinks
    client: HttpClient
    _under_way: Counter[Place] = field(default_factory=Counter)

    async def open(self, token: str, wanted: PartWanted) -> Download:
        """Return the file behind a link, at its first byte.

        Raises `NotFound`, `Gone`, `RangeNotSatisfiable`, `ProviderUnavailable`, or `Busy` where there is no
        place.
        """
        found = await self.links.find(token)
        with contextlib.ExitStack() as cleanup:
            place = self._enter(found.place)
            cleanup.callback(place.leave)
            download = await self._open(found, wanted, place)
            cleanup.pop_all()
        return download

    def _enter(self, key: Place) -> _Place:
        if self._under_way.total() >= AT_ONCE or self._under_way[key] >= OF_ONE_FILE:
            raise Busy("too many downloads are under way; try again, or follow the link without `download`")
        self._under_way[key] += 1
        return _Place(self._under_way, key)

    async def _open(self, found: FoundAsset, wanted: PartWanted, place: _Place) -> Download:
        streamed = await self._get(found.url, wanted)
        if streamed.answer.status in NO_LONGER_GOOD:
            streamed.body.close()
            found = await self.links.renew(found)
            streamed = await self._get(found.url, wanted)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(streamed.body.close)
            if streamed.answer.status in NO_LONGER_GOOD:
                raise self.links.give_up(found)
            head = file_head(streamed.answer, wanted)
            cleanup.pop_all()
        return Download(
            job_id=found.job.id,
            index=found.index,
            kind=found.asset.kind,
            mime_type=found.asset.mime_type,
            head=head,
            body=streamed.body,
            _place=place,
        )

    async def _get(self, url: str, wanted: PartWanted) -> StreamedAnswer:
        try:
            return await redirects.get(self.client, url, wanted.headers())
        except CallFailed:
            # The reason may name addresses of this network, and a reader of a link is a stranger.
            raise ProviderUnavailable("the file's server cannot be reached now") from None
