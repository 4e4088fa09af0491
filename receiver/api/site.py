"""The HTML pages `/docs` (API reference), `/docs/events`, `/problems` (error codes), and `/openapi.json`."""

from collections.abc import Mapping
from html import escape
from typing import Any

from starlette.responses import HTMLResponse, Response

from receiver.api.guard import RequestContext, answer
from receiver.api.markdown import anchor, headings, html, inline
from receiver.api.receiving import TITLE, receiving
from receiver.api.reference import reference
from receiver.domain.errors import PROBLEMS, NotFound

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:58rem;margin:2rem auto;padding:0 1rem;color:#222}}
code,pre{{background:#f3f3f3;border-radius:3px;font-size:.9em}}code{{padding:.1em .3em}}
pre{{padding:.6rem;overflow:auto}}pre code{{padding:0}}h2{{margin:3rem 0 .3rem;border-bottom:1px solid #ddd}}
h3{{margin:2rem 0 .3rem}}li{{margin:.2rem 0}}small{{color:#666}}a{{color:#05c}}nav ul{{columns:2 20rem}}
nav{{overflow-wrap:anywhere}}
table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;vertical-align:top;
padding:.25rem .6rem .25rem 0;border-bottom:1px solid #eee}}summary{{cursor:pointer;color:#05c}}
@media(prefers-color-scheme:dark){{body{{background:#151515;color:#ddd}}code,pre{{background:#2a2a2a}}
a,summary{{color:#7af}}small{{color:#999}}td,th{{border-color:#333}}h2{{border-color:#444}}}}</style>
{body}</html>"""
# The pages have inline styles and nothing else to load: no scripts, no images, no frames.
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


def _page(title: str, body: str) -> Response:
    return HTMLResponse(PAGE.format(title=escape(title), body=body), headers=HEADERS)


async def openapi(context: RequestContext) -> Response:
    """Show the OpenAPI document, generated from the models that validate requests."""
    return answer(context.document())


async def docs(context: RequestContext) -> Response:
    """Show the API reference: calls, events and errors."""
    return _page("Ringback API", reference(context.document()))


async def events(context: RequestContext) -> Response:
    """Explain how to receive events, with the figures of this deployment."""
    text = receiving(context.services.settings)
    parts = (f'<li><a href="#{anchor(one)}">{escape(one)}</a></li>' for one in headings(text, 2))
    nav = f"<nav><p><a href='/docs'>API reference</a></p><ul>{''.join(parts)}</ul></nav>"
    title, end, rest = html(text, links_of(context.document())).partition("</h1>")
    return _page(TITLE, f"{title}{end}{nav}{rest}")


def links_of(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the URL for each call and each page that a text names: a place in the reference, or the page."""
    links = {}
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            name = f"{method.upper()} {path}"
            links[name] = f"/docs#{anchor(name)}"
            if name.startswith("GET ") and "{" not in path and "x-scope" not in call:
                links[path] = path
    return links


async def problem_list(_context: RequestContext) -> Response:
    """List the error codes."""
    rows = "".join(
        f"<tr><td><a href='/problems/{kind.code}'><code>{kind.code}</code></a></td>"
        f"<td>{kind.http_status}</td><td>{escape(kind.title)}</td></tr>"
        for kind in PROBLEMS
    )
    body = (
        "<p><a href='/docs'>API reference</a></p><h1>Errors</h1>"
        f"<table><tr><th>code</th><th>status</th><th>title</th></tr>{rows}</table>"
    )
    return _page("Errors", body)


async def problems(context: RequestContext) -> Response:
    """Explain an error code. Raises `NotFound` for an unknown one."""
    code = context.path["code"]
    kinds = [kind for kind in PROBLEMS if kind.code == code]
    if not kinds:
        raise NotFound("there is no error with this code; /problems lists all of them")
    told = "".join(
        f"<h2>{escape(kind.title)} <small>{kind.http_status}</small></h2><p>{inline(kind.meaning)}</p>"
        for kind in kinds
    )
    back = "<p><a href='/problems'>All errors</a> &middot; <a href='/docs'>API reference</a></p>"
    return _page(code, f"{back}<h1><code>{escape(code)}</code></h1>{told}")
