"""The simulated providers that speak out of a description: their paths, answers and callbacks.

A description says where a reader finds each fact; here the same places are filled.
"""

import re
from collections.abc import Mapping
from typing import Any

from handlers import json
from handlers.contract import Kind
from handlers.description.calls import Call, Resolve
from handlers.description.files import NAMES
from handlers.description.requests import app_of
from handlers.description.terms import Consequence, Fields, Meaning
from handlers.description.vocabulary import Description, Files
from handlers.pointers import EACH, INSIDE, every, steps
from handlers.values import immutable
from receiver.sandbox.world import Made

Body = dict[str, Any]
SOURCE = "file-"
"""The beginning of a source that a call makes a link of, before the id of its job."""
DOWNLOADS = "downloads/"
"""The path of files that a call with the key is redirected from."""
SORRY = "this job was asked to fail"
"""The error message of every failed job."""
ENDINGS = {Kind.VIDEO: "mp4", Kind.IMAGE: "png", Kind.AUDIO: "mp3", Kind.FILE: "glb", None: "png"}
MEANINGS = {
    "queued": Meaning.QUEUED,
    "running": Meaning.RUNNING,
    "succeeded": Meaning.SUCCEEDED,
    "failed": Meaning.FAILED,
    "canceled": Meaning.CANCELED,
}
INSTEAD = {
    Meaning.QUEUED: (Meaning.RUNNING,),
    Meaning.RUNNING: (Meaning.QUEUED,),
    Meaning.FAILED: (Meaning.SUCCEEDED,),
    Meaning.CANCELED: (Meaning.FAILED,),
}
"""The meanings that stand in for the first where a provider has no word for it."""
CAUSES = {
    "key": (401, Consequence.ACCOUNT, "invalid api key"),
    "blocked": (402, Consequence.ACCOUNT, "insufficient credits"),
    "refused": (400, Consequence.REJECTED, "the input was refused"),
    "throttled": (429, Consequence.THROTTLED, "too many requests"),
    "unknown": (404, Consequence.REJECTED, "no such job"),
}
"""The status, the consequence and the sentence of each refusal."""
_BRACES = re.compile(r"\\?\{(\w+)\\?\}")


@immutable
class Asked:
    """A call that the paths of a description know: its name and the id of the job."""

    call: str
    identity: str = ""


def filled(body: Body, pointer: str, value: Any) -> Body:
    """Return a body with `value` at a pointer, making objects, lists and texts of JSON on the way."""
    made: Body = _put(body, steps(pointer), value)
    return made


def _put(node: Any, path: list[str], value: Any) -> Any:
    if not path:
        return {**node, **value} if isinstance(node, dict) and isinstance(value, dict) else value
    step, *rest = path
    if step == INSIDE:
        inner = json.read(node.encode()) if isinstance(node, str) else None
        return json.write(_put(inner, rest, value)).decode()
    if step == EACH or step.isdigit():
        listed = list(node) if isinstance(node, list) else []
        return [_put(listed[0] if listed else None, rest, value), *listed[1:]]
    table = dict(node) if isinstance(node, dict) else {}
    return table | {step: _put(table.get(step), rest, value)}


class Dialect:
    """The wire format of a described provider: it recognizes calls, and makes answers and callbacks."""

    def __init__(self, told: Description, kinds: Mapping[str, Kind | None]) -> None:
        self.told = told
        self._kinds = kinds
        self._resolve = told.resolve if isinstance(told.resolve, Resolve) else None
        self._paths = [(name, call) for name in ("poll", "result", "cancel") if (call := getattr(told, name))]

    def asked(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Asked | None:
        """Return the call about a job that a request makes, None for one that submits a job."""
        for name, call in self._paths:
            if call.method == method and (identity := self._identity(call, path, query, body)):
                return Asked(name, identity)
        source = self._source_asked(path, query) if method == "GET" else None
        return Asked("resolve", source.removeprefix(SOURCE)) if source else None

    def key(self, headers: Mapping[str, str], body: Any) -> str:
        """Return the API key of a call, "" without one."""
        scheme, _, name = self.told.auth.partition(":")
        if scheme == "body":
            found = next(iter(every(name)(body)), "")
            return found if isinstance(found, str) else ""
        value = headers.get("authorization" if scheme in {"bearer", "raw", "word"} else name, "")
        return value.removeprefix(f"{'Bearer' if scheme == 'bearer' else name} ").strip()

    def submits(self, path: str) -> bool:
        """Return whether a path is that of an operation."""
        return path in self._kinds or any("*" in group.names for group in self.told.operations)

    def own_id(self, body: Body) -> str | None:
        """Return the id that the caller gave to its job, None where the provider gives it."""
        place = self.told.submit.idempotency or ""
        if not place.startswith("body:"):
            return None
        return next(iter(every(place.removeprefix("body:"))(body)), None)

    def new_id(self, operation: str, identity: str, body: Body) -> str:
        """Return the id of a new job: the caller's, or the provider's, a path where polls need one."""
        if (own := self.own_id(body)) is not None:
            return own
        whole = self.told.poll is not None and "{own}" in (self.told.poll.path or "")
        return (
            f"{operation.partition('/')[2].rpartition(':')[0]}/operations/{identity}" if whole else identity
        )

    def submitted(self, made: Made) -> Body:
        """Return the answer to a submission."""
        body = self._facts(self.told.submit.fields, made, "queued", None)
        kept = self.told.submit.kept
        if kept is not None:
            body = filled(body, kept.at[0], f"{made.origin}/{self._kept_path(made)}")
        return body

    def told_of(self, call: str, made: Made, phase: str, progress: int) -> Body:
        """Return the answer to a poll, or to a call for a result."""
        if call == "resolve":
            return self._resolved(made)
        rule: Call = getattr(self.told, call)
        # A second request brings the result by itself, and the poll before it the word alone.
        if call == "result":
            return self._outcome({}, made, phase)
        body = self._facts(rule.fields, made, phase, progress)
        thin = self.told.result is not None and phase == "succeeded"
        return body if thin else self._outcome(body, made, phase)

    def said(self, made: Made, phase: str, progress: int) -> Body | None:
        """Return the body of a callback, None for progress where the provider has no word for it."""
        rule = self.told.callback
        own = rule.fields if rule else Fields()
        if phase == "running" and own.status is None and self.told.fields.status is None:
            return None
        body = self._facts(own, made, phase, progress)
        return self._outcome(body, made, phase)

    def refusal(self, cause: str) -> tuple[int, Body]:
        """Return the status and the body of a refusal."""
        status, consequence, sentence = CAUSES[cause]
        codes = self.told.errors.get(consequence, ())
        ok = self.told.ok
        if ok is None or not codes:
            return status, self._refused(codes[0] if codes else cause, sentence)
        body = filled({}, ok.at[0], _number(codes[0]))
        return 200, filled(body, (ok.message or ("/message",))[0], sentence)

    def _refused(self, code: str, sentence: str) -> Body:
        """Return an error where the description looks for its code and sentence."""
        table = self.told.failure
        texts = table.message or ()
        if not texts or not table.code:
            return {"error": {"code": code, "message": sentence}}
        return filled(filled({}, table.code[0], _number(code)), texts[0] or "/message", sentence)

    def _facts(self, own: Fields, made: Made, phase: str, progress: int | None) -> Body:
        common = self.told.fields
        body: Body = {}
        if self.told.ok is not None:
            body = filled(body, self.told.ok.at[0], _number(self.told.ok.equals[0]))
        body = filled(body, (own.id or common.id or ("/id",))[0], made.id)
        places, word = own.status or common.status, self._word(MEANINGS[phase], own)
        if places is not None and word is not None:
            body = filled(body, places[0], word)
        places = own.progress or common.progress
        if places is not None and progress is not None and phase == "running":
            body = filled(body, places[0], progress / common.scale)
        return body

    def _word(self, meaning: Meaning, own: Fields) -> Any:
        """Return the first word for a meaning, the name of an event where callbacks have those."""
        for one in (meaning, *INSTEAD.get(meaning, ())):
            words = [word for word, known in self.told.words.items() if known is one]
            if own.status is not None and own is not self.told.fields:
                words = [word for word in words if "." in word] or words
            if words:
                return {"true": True, "false": False}.get(words[0], words[0])
        return None

    def _outcome(self, body: Body, made: Made, phase: str) -> Body:
        if phase == "failed":
            places = self.told.failure.error or ("/error",)
            return filled(body, places[0], SORRY)
        if phase == "succeeded" and "empty" not in made.words:
            for group in self.told.files[:1]:
                body = self._file(body, group, made)
        return body

    def _file(self, body: Body, group: Files, made: Made) -> Body:
        kind = self._kinds.get(made.operation)
        link: Any = made.file(f"0.{ENDINGS[kind]}")
        if group.source:
            direct = self._resolve is not None and self._resolve.redirect
            link = f"{made.origin}/{DOWNLOADS}{made.id}/0.{ENDINGS[kind]}" if direct else f"{SOURCE}{made.id}"
        if group.below is not None:
            return filled(body, group.below[0], {_field_of(group, kind or Kind.IMAGE): link})
        value: Any = {_link_of(group, kind): link} if group.link else link
        if group.link and "mime_type" in group.facts and not group.facts["mime_type"].startswith("/"):
            value[group.facts["mime_type"]] = (kind or Kind.IMAGE).value
        return filled(body, (group.at or ("",))[0], value)

    def _source_asked(self, path: str, query: Mapping[str, str]) -> str | None:
        """Return the source that a call for a fresh link names, None for any other call."""
        rule = self._resolve
        match = _pattern(rule.path).fullmatch(f"/{path}") if rule is not None else None
        if rule is None or match is None:
            return None
        named = next((query.get(name) for name, value in rule.query.items() if value == "{source}"), None)
        return match.groupdict().get("source") or named

    def _resolved(self, made: Made) -> Body:
        """Return the answer with a fresh link."""
        kind = self._kinds.get(made.operation)
        ok, places = self.told.ok, self._resolve.url if self._resolve else None
        body = filled({}, ok.at[0], _number(ok.equals[0])) if ok is not None else {}
        return filled(body, (places or ("/url",))[0], made.file(f"0.{ENDINGS[kind]}"))

    def _kept_path(self, made: Made) -> str:
        for call in (self.told.result, self.told.poll):
            if call is not None and call.kept == "":
                return _path(call, f"/{made.operation}", made.id).lstrip("/")
        return made.operation

    def _identity(self, call: Call, path: str, query: Mapping[str, str], body: Any) -> str | None:
        match = _pattern(call.path or "").fullmatch(f"/{path}")
        if match is None:
            return None
        named = match.groupdict()
        if "id" in named or "own" in named:
            return str(named.get("id") or named.get("own"))
        for name, value in call.query.items():
            if value == "{id}":
                return query.get(name)
        return _inside(call.body, body)


def _field_of(group: Files, kind: Kind) -> str:
    """Return the name of a field that a reader takes for a file of this kind."""
    return next((word for word, known in group.kinds.items() if known is kind), kind.value)


def _link_of(group: Files, kind: Kind | None) -> str:
    """Return the field of an item that has the link of a file of this kind; the first without such a name."""
    words = (group.kinds or NAMES).items()
    kinds = {name: next((one for word, one in words if word in name.lower()), None) for name in group.link}
    return next((name for name, known in kinds.items() if known is kind), group.link[0])


def _pattern(path: str) -> re.Pattern[str]:
    forms = {"operation": "/.+?", "name": ".+?", "app": ".+?", "own": r"(?P<own>.+)"}
    forms |= {name: rf"(?P<{name}>[^/]+)" for name in ("id", "source")}
    return re.compile(_BRACES.sub(lambda found: forms.get(found[1], found[0]), re.escape(path)))


def _path(call: Call, operation: str, identity: str) -> str:
    names = {"id": identity, "own": identity, "operation": operation, "name": operation.lstrip("/")}
    names["app"] = app_of(names["name"])
    path = _BRACES.sub(lambda found: names[found[1]], call.path or "/")
    query = "&".join(f"{name}={value.replace('{id}', identity)}" for name, value in call.query.items())
    return f"{path}?{query}" if query else path


def _inside(rule: Any, body: Any) -> str | None:
    """Return the part of a body where a rule has `{id}`, None where its other values differ."""
    found: str | None = None
    for name, value in _fields(rule):
        told = dict(_fields(body)).get(name)
        if isinstance(value, str) and "{" in value:
            match = _pattern(value).fullmatch(told) if isinstance(told, str) else None
            if match is None:
                return None
            named = match.groupdict()
            found = named.get("id") or named.get("own") or found
        elif isinstance(value, dict | list):
            found = _inside(value, told) or found
        elif value != told:
            return None
    return found


def _fields(value: Any) -> list[tuple[Any, Any]]:
    """Return the fields of an object, or the items of a list by their number."""
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _number(code: str) -> Any:
    return int(code) if code.isdigit() else code
