"""GET requests that follow redirects, with the body as a stream.

Each hop is a call of its own: its address is checked and dialled like that of any other call, and it carries
the same headers, so they must hold nothing that only the first origin may see.
"""

import asyncio
from collections.abc import Sequence
from urllib.parse import urldefrag, urljoin

from handlers.fields import link
from handlers.values import immutable
from receiver.egress.body_stream import BodyStream
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.egress.http1 import Answer

HOPS = 3
"""The most redirects that are followed."""
MOVED = frozenset({301, 302, 303, 307, 308})
HEAD_SECONDS = 30.0
"""Seconds for the head of the final answer, all hops included."""


@immutable
class StreamedAnswer:
    """The head of an answer, and the stream of its body, which must be closed."""

    answer: Answer
    body: BodyStream


async def get(client: HttpClient, url: str, headers: Sequence[tuple[str, str]]) -> StreamedAnswer:
    """Return the answer at the end of the redirects of `url`. Raises `CallFailed`."""
    url = urldefrag(url).url
    ends = asyncio.get_running_loop().time() + HEAD_SECONDS
    for _ in range(HOPS + 1):
        body = BodyStream()
        left = ends - asyncio.get_running_loop().time()
        answer = await client.call(HttpCall(method="GET", url=url, headers=headers, timeout=left, into=body))
        if answer.status not in MOVED:
            return StreamedAnswer(answer, body)
        body.close()
        location = answer.header("location")
        if location is None:
            raise CallFailed("read", "a redirect without a location")
        try:
            # Mended as the links of files are: servers send blanks, and UTF-8, as they are.
            text = location.encode("latin-1").decode("utf-8")
            found = link(urldefrag(urljoin(url, text)).url)
        except ValueError:
            found = None
        if found is None:
            raise CallFailed("request", "a redirect to no URL")
        url = found
    raise CallFailed("read", "too many redirects")
