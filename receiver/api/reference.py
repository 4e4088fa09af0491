"""The API reference (`/docs`) as HTML, generated from the OpenAPI document and the table of event types."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from receiver.api.event_examples import ENDPOINT, EXAMPLES, JOB, MEANINGS
from receiver.api.markdown import anchor, inline
from receiver.domain.errors import PROBLEMS
from receiver.domain.event_types import LITERAL_ONLY

NEEDLESS = frozenset({"400", "401", "403", "405", "413", "415", "422", "429", "500", "503"})
"""Statuses that the section on errors explains once for all calls."""
IDS = {
    "jobs/{id}": f"jobs/{JOB}",
    "events/{id}": "events/evt_5f0e6c1d2b3a4958",
    "endpoints/{id}": f"endpoints/{ENDPOINT}",
    "deliveries/{id}": "deliveries/dlv_06fm3k2v9qg8r1t5n7w4x0yz2d",
    "keys/{id}": "keys/key_06fm3k1a2b3c4d5e6f7g8h9j0k",
    "{token}": "eyJ...",
    "{code}": "validation",
}
"""Example values for the parameters in paths."""
SECTIONS = (
    ("authentication", "Authentication"),
    ("requests", "Requests and lists"),
    ("event-types", "Event types"),
)
AUTHENTICATION = """<h2 id="authentication">Authentication</h2>
<p>Send an API key with every call under <code>/v1</code>:</p>
<pre><code>export RINGBACK_URL=https://hooks.example.com RINGBACK_API_KEY=rb_...
curl -s $RINGBACK_URL/v1/jobs -H "Authorization: Bearer $RINGBACK_API_KEY"</code></pre>
<p>A key has scopes; each call below names the one that it needs. <code>admin</code> allows all of them.
Without a valid key the answer is 401, without the scope 403.</p>"""
REQUESTS = """<h2 id="requests">Requests and lists</h2>
<p>Bodies are JSON in UTF-8. Unknown fields and parameters are refused. Times are RFC 3339 in UTC with
milliseconds; ids carry their kind (<code>job_</code>, <code>evt_</code>, ...). Every answer carries
<code>x-request-id</code>.</p>
<p>A list takes <code>limit</code> (1 to 200, default 50) and <code>cursor</code>, and answers
<code>{"data": [...], "next_cursor": null | "..."}</code>, newest first unless stated. Bodies may have 32 MiB
for <code>POST /v1/jobs</code>, 256 KiB elsewhere.</p>"""
EVENTS = """<h2 id="event-types">Event types</h2>
<p>An event is posted to every endpoint that subscribed to its type, signed by
<a href="https://www.standardwebhooks.com">Standard Webhooks</a>. A subscription names types, <code>*</code>
for all of them, or prefixes such as <code>job.*</code>. <a href="/docs/events">Receiving events</a> explains
how to verify them, in which order they come, and which answers are tried again and when. It begins with ten
minutes of <code>curl</code>.</p>"""


def reference(description: Mapping[str, Any]) -> str:
    """Return the body of the reference page as HTML."""
    tags: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, calls in description["paths"].items():
        for method, call in calls.items():
            tags.setdefault(call["tags"][0], []).append((method.upper(), path, call))
    schemas = description["components"]["schemas"]
    head = (
        f"<h1>Ringback API <small>{escape(description['info']['version'])}</small></h1>"
        f"<p>{escape(description['info']['description'])} The OpenAPI document is at "
        "<a href='/openapi.json'>/openapi.json</a>; <a href='/docs/events'>Receiving events</a> is for those "
        "that take the events.</p>"
    )
    parts = [head, _index(tags), AUTHENTICATION, REQUESTS]
    for tag, listed in tags.items():
        parts.append(f"<h2 id='{anchor(tag)}'>{escape(tag)}</h2>")
        parts.extend(_call(method, path, call, schemas) for method, path, call in listed)
    parts += [EVENTS, *_events(), _errors(), "<h2 id='objects'>Objects</h2>"]
    parts.extend(_object(name, schema) for name, schema in schemas.items())
    return "".join(parts)


def _index(tags: Mapping[str, list[tuple[str, str, dict[str, Any]]]]) -> str:
    first, *last = [f"<a href='#{place}'>{title}</a>" for place, title in SECTIONS]
    ends = [*last, "<a href='#errors'>Errors</a>", "<a href='#objects'>Objects</a>"]
    parts = [f"<nav><p>{' &middot; '.join([first, *ends])}</p>"]
    for tag, listed in tags.items():
        items = "".join(
            f"<li><a href='#{anchor(f'{method} {path}')}'>{method} {escape(path)}</a></li>"
            for method, path, _ in listed
        )
        parts.append(f"<p><a href='#{anchor(tag)}'>{escape(tag)}</a></p><ul>{items}</ul>")
    return "".join([*parts, "</nav>"])


def _call(method: str, path: str, call: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    scope = call.get("x-scope")
    needs = f" <small>needs <code>{escape(scope)}</code></small>" if scope else " <small>no key</small>"
    parts = [
        f"<h3 id='{anchor(f'{method} {path}')}'><code>{method} {escape(path)}</code>{needs}</h3>",
        f"<p>{inline(call['summary'])}</p>",
    ]
    parameters = [
        (one["name"], _type(one["schema"]), f"{one['in']}{': ' if 'description' in one else ''}", one)
        for one in call["parameters"]
    ]
    if parameters:
        rows = "".join(
            f"<tr><td><code>{escape(name)}</code></td><td>{kind}</td>"
            f"<td>{where}{inline(one.get('description', ''))}</td></tr>"
            for name, kind, where, one in parameters
        )
        parts.append(f"<table>{rows}</table>")
    body = call.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None:
        name = body["schema"]["$ref"].rsplit("/", 1)[1]
        parts.append(f"<p>Body: {_type(body['schema'])}</p>{_fields(schemas[name])}")
    parts.append(_pre(_curl(method, path, call, body)))
    parts.extend(_answers(call))
    return "".join(parts)


def _curl(method: str, path: str, call: Mapping[str, Any], body: Mapping[str, Any] | None) -> str:
    word = "" if method == "GET" else " -I" if method == "HEAD" else f" -X {method}"
    for part, known in IDS.items():
        path = path.replace(part, known)
    line = f'curl -s{word} "$RINGBACK_URL{path}"'
    if "x-scope" in call:
        line += ' \\\n  -H "Authorization: Bearer $RINGBACK_API_KEY"'
    if body is not None:
        line += f" \\\n  -H 'Content-Type: application/json' \\\n  -d '{json.dumps(body['example'])}'"
    return line


def _answers(call: Mapping[str, Any]) -> Iterator[str]:
    shown: list[Any] = []
    for status, response in call["responses"].items():
        if status in NEEDLESS:
            continue
        told = response.get("content", {}).get("application/json", {})
        kind = f": {_type(told['schema'])}" if "schema" in told else ""
        # Statuses are text of three digits, so they compare like numbers.
        error = f": {inline(response['description'])}" if status >= "400" else ""
        yield f"<p>Answer <b>{status}</b>{kind}{error}</p>"
        if "example" in told and told["example"] not in shown:
            shown.append(told["example"])
            yield _example(told["example"])


def _events() -> Iterator[str]:
    for name, meaning in MEANINGS.items():
        literal = " Goes only where it is named in full." if name in LITERAL_ONLY else ""
        yield (
            f"<h3 id='{anchor(name)}'><code>{name}</code></h3><p>{inline(meaning)}{literal}</p>"
            f"{_example(EXAMPLES[name])}"
        )


def _errors() -> str:
    rows = "".join(
        f"<tr><td><a href='/problems/{kind.code}'><code>{kind.code}</code></a></td>"
        f"<td>{kind.http_status}</td><td>{inline(kind.meaning)}</td></tr>"
        for kind in PROBLEMS
    )
    return (
        "<h2 id='errors'>Errors</h2><p>Every error is <code>application/problem+json</code> (RFC 9457) with "
        "a stable <code>code</code>; for 422, <code>errors</code> lists each wrong field.</p>"
        f"<table><tr><th>code</th><th>status</th><th>meaning</th></tr>{rows}</table>"
    )


def _object(name: str, schema: Mapping[str, Any]) -> str:
    # The first line only: pydantic copies the whole docstring of a model into its description.
    meaning = inline(schema.get("description", "").split("\n")[0])
    head = f"<h3 id='{anchor(name)}'>{escape(name)}</h3><p>{meaning}</p>"
    if "properties" not in schema:
        return f"{head}<p>{_type(schema)}</p>"
    return head + _fields(schema)


def _fields(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", [])
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{_type(told)}</td>"
        f"<td>{'' if field in required else 'optional. '}{inline(told.get('description', ''))}</td></tr>"
        for field, told in schema["properties"].items()
    )
    return f"<table>{rows}</table>"


def _type(schema: Mapping[str, Any]) -> str:
    """Return the type of a field in words, linked to the object that it is."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"<a href='#{anchor(name)}'>{escape(name)}</a>"
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(_type(one) for one in schema[several])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and "data" in schema.get("properties", {}):
        return f"page of {_type(schema['properties']['data']['items'])}"
    return " or ".join(kind) if isinstance(kind, list) else escape(str(kind))


def _example(value: Any) -> str:
    return f"<details><summary>example</summary>{_pre(json.dumps(value, indent=2))}</details>"


def _pre(text: str) -> str:
    return f"<pre><code>{escape(text, quote=False)}</code></pre>"
