"""Whether we live and can store; the description of the API; a page for every problem."""

import asyncio
from collections.abc import Awaitable, Callable
from html import escape
from typing import Any

from starlette.responses import HTMLResponse, Response

from receiver.api.guard import Asked, answer
from receiver.errors import PROBLEMS, NotFound, StoreUnavailable

GOOD_FOR = 1.0
"""Seconds for which an answer about readiness holds: anybody may ask, and each look writes."""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:54rem;margin:2rem auto;padding:0 1rem;color:#222}}
code{{background:#f3f3f3;padding:.1em .3em;border-radius:3px}}h2{{margin:2rem 0 .3rem}}
li{{margin:.4rem 0}}small{{color:#666}}</style>
{body}</html>"""
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


class Readiness:
    """Whether we can store: looked at once a second at most, however often it is asked."""

    def __init__(self, probe: Callable[[], Awaitable[object]], monotonic: Callable[[], float]) -> None:
        self._probe = probe
        self._monotonic = monotonic
        self._asking: asyncio.Task[str | None] | None = None
        self._good_until = 0.0

    async def check(self) -> None:
        """Raises `StoreUnavailable` when we could not store a moment ago."""
        if self._asking is None or (self._asking.done() and self._monotonic() >= self._good_until):
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        problem = await asyncio.shield(self._asking)
        if problem is not None:
            raise StoreUnavailable(problem)

    async def _ask(self) -> str | None:
        try:
            await self._probe()
        except StoreUnavailable as error:
            return error.detail
        finally:
            self._good_until = self._monotonic() + GOOD_FOR
        return None


async def healthz(_asked: Asked) -> Response:
    """The process lives."""
    return answer({"status": "ok"})


async def readyz(asked: Asked) -> Response:
    """It can store, and is not stopping."""
    if asked.services.draining:
        raise StoreUnavailable("the service is stopping")
    await asked.services.readiness.check()
    return answer({"status": "ok"})


async def problems(asked: Asked) -> Response:
    """What a problem's code means."""
    code = asked.path["code"]
    kinds = [kind for kind in PROBLEMS if kind.code == code]
    if not kinds:
        raise NotFound("there is no problem of this name")
    told = "".join(
        f"<h2>{escape(kind.title)} <small>{kind.http_status}</small></h2><p>{_code(kind.meaning)}</p>"
        for kind in kinds
    )
    return HTMLResponse(
        PAGE.format(title=escape(code), body=f"<h1><code>{escape(code)}</code></h1>{told}"), headers=HEADERS
    )


def _code(text: str) -> str:
    parts = escape(text, quote=False).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


async def openapi(asked: Asked) -> Response:
    """The API's description, made from the models that check it."""
    return answer(asked.services.description)


async def docs(asked: Asked) -> Response:
    """The same for people."""
    description: dict[str, Any] = asked.services.description
    parts = [
        "<h1>Ringback API</h1><p>The machine's form is at <a href='/openapi.json'>/openapi.json</a>.</p>"
    ]
    for path, calls in description["paths"].items():
        for method, call in calls.items():
            scope = call.get("x-scope")
            needs = f" <small>needs <code>{escape(scope)}</code></small>" if scope else ""
            statuses = ", ".join(escape(status) for status in call["responses"])
            parts.append(
                f"<h2><code>{method.upper()} {escape(path)}</code>{needs}</h2>"
                f"<p>{escape(call['summary'])} <small>answers {statuses}</small></p>"
            )
            parameters = call.get("parameters", [])
            if parameters:
                items = "".join(
                    f"<li><code>{escape(one['name'])}</code> <small>in {one['in']}</small> "
                    f"{escape(one.get('description', ''))}</li>"
                    for one in parameters
                )
                parts.append(f"<ul>{items}</ul>")
    return HTMLResponse(PAGE.format(title="Ringback API", body="".join(parts)), headers=HEADERS)
