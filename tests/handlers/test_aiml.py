"""AI.ML's media links: for any link in a reply, the key goes to the account's own origin or nowhere."""

import json
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.contract import Account, AssetRef, HttpRequest, JobRef
from handlers.errors import Garbled
from tests.handlers.captures import API_KEY, HANDLERS, exchanges, message
from tests.handlers.strategies import LIMITED

BASE = "https://api.ai.ml"
BASES = (BASE, "http://127.0.0.1:8099", "https://gateway.example:8443", "https://gateway.example/aiml")
JOB = JobRef("job_1", "9b9f", "video")

HOSTILE = (
    "@evil.test/x", ".evil.test/x", ":pw@evil.test/x", ":443@evil.test/x", "//evil.test", "//evil.test/v1/x",
    "https://evil.test", "https://evil.test/v1/media/x", "http://api.ai.ml/v1/media/x", "HTTPS://api.ai.ml/x",
    "https://API.AI.ML/x", "https://api.ai.ml.evil.test/x", "https://api.ai.ml@evil.test/x",
    "https://api.ai.ml:443@evil.test/x", "https://api.ai.ml:444/x", "https://api.ai.ml//evil.test/x",
    "https://api.ai.ml/\\evil.test", "https://api.ai.ml\\@evil.test/x", "https://api.ai.ml#@evil.test/x",
    "https://api.ai.ml?@evil.test/x", "https://api.ai.mlhttps://evil.test", "https://user@api.ai.ml/x",
    "/\\evil.test", "\\\\evil.test\\x", "/\t/evil.test", "\t//evil.test", " //evil.test", "/ /evil.test",
    "///evil.test", "/x\r\nHost: evil.test", "/x\nX: y", "/x\x00", "/x#y", "/ä", "x", "", "https://api.ai.ml:x",
    "ftp://api.ai.ml/x", "javascript:alert(1)", "data:video/mp4,x", "https:/evil.test", "//127.0.0.1:6379/",
    "http://169.254.169.254/latest", "https:evil.test",
)  # fmt: skip
"""Media links that have led, or could lead, a client and its key to another origin."""

OWN = (
    "/v1/media/videos/orgs%2F64%2Fvideos%2Fa.mp4", "/v1/media/videos/orgs%252F64", "/v1/./media/../x",
    "/v1//x", "/@evil.test/x", "/.evil.test", "/v1/media/x?next=https://evil.test", "/%2F%2Fevil.test", "/",
)  # fmt: skip
"""Media links that stay on the own origin and are sent byte for byte."""


def asked(source: str, base: str = BASE) -> HttpRequest:
    """Return the request that resolves a media link."""
    resolve = exchanges(HANDLERS["aiml"])["resolve"]
    return resolve.build(AssetRef(JOB, 0, source), Account("mine", base, API_KEY))


def stays_home(request: HttpRequest, base: str) -> None:
    """Assert that two different URL parsers see the request go to the origin of `base`."""
    url = base + request.path
    assert (urlsplit(url).scheme, urlsplit(url).netloc) == (urlsplit(base).scheme, urlsplit(base).netloc)
    assert (httpx.URL(url).host, httpx.URL(url).port) == (httpx.URL(base).host, httpx.URL(base).port)
    assert not httpx.URL(url).userinfo


@pytest.mark.parametrize("source", HOSTILE, ids=ascii)
def test_a_link_to_another_origin_is_not_followed(source: str) -> None:
    for base in BASES:
        with pytest.raises(Garbled) as caught:
            asked(source, base)
        assert API_KEY not in f"{caught.value!r}"


@pytest.mark.parametrize(
    "suffix", ["@evil.test/x", ".evil.test/x", "//evil.test/x", ":1/x", "\\evil.test", "#/x", ""]
)
def test_the_own_origin_is_no_mere_prefix(suffix: str) -> None:
    for base in BASES:
        with pytest.raises(Garbled):
            asked(base + suffix, base)


@pytest.mark.parametrize("path", OWN)
def test_an_own_link_goes_out_byte_for_byte(path: str) -> None:
    for base in BASES:
        for source in (path, base + path):
            request = asked(source, base)
            assert (request.method, request.path) == ("GET", path)
            assert ("authorization", f"Bearer {API_KEY}") in request.headers
            stays_home(request, base)


@LIMITED
@given(
    source=st.text(st.characters(codec="utf-8"))
    | st.text("/\\@.:#?% \t\r\nhtpsevil", max_size=16)
    | st.text("/\\@.:#?x", max_size=8).map(lambda end: BASE + end)
)
def test_any_link_stays_home_or_is_not_followed(source: str) -> None:
    try:
        request = asked(source)
    except Garbled:
        return
    stays_home(request, BASE)


@pytest.mark.parametrize("link", [*HOSTILE[:12], *OWN])
def test_a_link_is_kept_for_later_and_never_told(link: str) -> None:
    body = {"data": {"uuid": "9b9f", "status": "succeeded", "videoUrl": link}}
    update = exchanges(HANDLERS["aiml"])["poll"].parse(message(200, json.dumps(body).encode()))
    assert [(asset.source, asset.url) for asset in update.assets] == [(link, None)]


@pytest.mark.parametrize("word", ["queued", "running", "failed", "canceled", "transcoding"])
def test_a_link_counts_only_once_it_is_done(word: str) -> None:
    body = {"data": {"uuid": "9b9f", "status": word, "videoUrl": OWN[0]}}
    update = exchanges(HANDLERS["aiml"])["poll"].parse(message(200, json.dumps(body).encode()))
    assert update.assets == ()
