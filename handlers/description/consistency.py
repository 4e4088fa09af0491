"""The rules that hold between the tables of a description."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel

from handlers import signed_text
from handlers.pointers import steps

if TYPE_CHECKING:
    from handlers.description.callbacks import ProofTable
    from handlers.description.calls import Call
    from handlers.description.vocabulary import Description, Setting

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}", re.ASCII)
_BRACES = re.compile(r"\{([^{}]*)\}")
_OF_AN_OBJECT = frozenset(
    {"when", "present", "types", "required", "any_of", "one_of", "known", "longest"},
)
"""The keys of a rule that are about the fields of an object."""
OF_ACCOUNTS = frozenset(
    {"api_key", "previous_api_keys", "base_url", "handler", "description", "options", "confirm"}
    | {"poll_interval", "backstop_after", "submit_timeout", "max_in_flight", "rate_limit", "max_jobs"}
)
"""The settings that every account has."""
CALL_NAMES = frozenset({"id", "own", "operation", "name", "app"})
SOURCE_NAMES = frozenset({"source", "own"})


def complaints(told: "Description") -> Iterator[str]:
    """Yield the contradictions between parts of a description, each with the fix."""
    yield from _operations(told)
    yield from _callback(told)
    yield from _calls(told)
    yield from _resolve(told)
    yield from _files(told)
    yield from _codes(told)
    yield from _places(told)
    yield from _rules(told)
    yield from _settings(told)
    accepted = any(kind.value == "accepted" for kind in (*told.errors, *told.sentences))
    if accepted and told.submit.idempotency is None:
        yield "errors.accepted: needs submit.idempotency, the key under which the provider has the job"
    if "all" not in told.confidence:
        yield 'confidence: needs `all`, for the facts that it does not name: { all = "official" }'


def _operations(told: "Description") -> Iterator[str]:
    names = [name for group in told.operations for name in group.names.split()]
    for name in names:
        if name != "*" and not _NAME.fullmatch(name.removeprefix("*/")):
            yield f"operations: {name!r} is no name: letters, digits, `-`, `_`, `.`, `:` and `/`"
    if all(name.startswith("*") for name in names):
        yield "operations: name at least one; the first is taken where a job names none"
    if len(set(names)) != len(names):
        yield "operations: a name is there twice"
    for group in told.operations:
        if "*" in group.names and "{name}" not in group.path:
            yield "operations: a group with `*` needs {name} in its path"
        yield from _braces("operations.path", group.path, frozenset({"name"}))
        yield from _braces("operations.asked", group.asked or "", frozenset())
        for name in group.former.values():
            if name not in names or name.startswith("*"):
                yield f"operations.former: there is no operation {name!r}"


def _callback(told: "Description") -> Iterator[str]:
    rule, sent = told.callback, told.submit.callback
    if rule is None:
        if sent is not None:
            yield "submit.callback: needs a table [callback] that says how a callback proves itself"
        yield from _ends(told, covered=False)
        return
    hint = rule.proof.scheme.value in {"none", "headers"} or rule.proof.optional
    covered = not hint and rule.proof.covers_body
    if told.poll is None and not covered:
        yield "callback: one whose proof does not cover its body is a hint, so [poll] is needed"
    yield from _ends(told, covered=covered)
    yield from _proof(rule.proof)
    if rule.proof.scheme.value in KEYED and rule.proof.key == "job" and sent and told.submit.secret is None:
        yield "callback.proof.key: the job's secret is sent to nobody: name its place in submit.secret"
    secrets = any(setting.kind == "secret" for setting in told.settings.values())
    if rule.proof.key in signed_text.BROUGHT and rule.proof.scheme.value in KEYED and not secrets:
        yield f'callback.proof.key: {rule.proof.key!r} needs a table in [settings] of kind = "secret"'


NEEDS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "secret": ("header",),
    "hmac": ("header",),
    "standard-webhooks": (),
    "ed25519-jwks": ("header", "keys_url", "signed", "time"),
    "jwt": ("header", "keys_url"),
    "headers": ("headers",),
}
"""The keys that a proof needs, by scheme."""


KEYED = frozenset({"secret", "hmac", "standard-webhooks", "headers"})
"""The schemes that use the key that a proof names."""


def _proof(proof: "ProofTable") -> Iterator[str]:
    for name in NEEDS[proof.scheme.value]:
        if not getattr(proof, name) and name not in proof.model_fields_set:
            yield f"callback.proof: {proof.scheme.value} needs {name}"
    if (part := signed_text.unknown(proof.message)) is not None:
        yield f"callback.proof.message: no part {{{part}}}"
    if "{time}" in proof.message and proof.time is None:
        yield "callback.proof.message: {time} needs the key time"
    if "{headers}" in proof.message and proof.names_header is None:
        yield "callback.proof.message: {headers} needs the key names_header"
    covering = "{body}" in proof.message or "{sha256}" in proof.message
    if proof.scheme.value == "hmac" and proof.covers_body and not covering:
        yield "callback.proof.message: does not hold {body}, so say covers_body = false"
    if proof.scheme.value == "jwt" and proof.covers_body and proof.claim is None:
        yield "callback.proof.claim: names no claim of the body, so say covers_body = false"
    if proof.time is not None and not proof.time.startswith("header:") and proof.signature is None:
        yield f"callback.proof.signature: is needed beside time = {proof.time!r}, a part of the same header"
    if proof.scheme.value == "ed25519-jwks" and not (proof.time or "").startswith("header:"):
        yield "callback.proof.time: must be a header: `header:name`"


def _calls(told: "Description") -> Iterator[str]:
    for name in ("poll", "result", "cancel"):
        call: Call | None = getattr(told, name)
        if call is None:
            continue
        if call.kept is not None and told.submit.kept is None:
            yield f"{name}.kept: needs submit.kept, which says where the URL is"
        for text in (call.path or "", *call.query.values()):
            yield from _braces(name, text, CALL_NAMES)
        if call.kept is None and not _names_the_job(call):
            yield f"{name}: nothing names the job: put {{id}} into its path, query or body"
        if isinstance(call.body, list) and told.auth.startswith("body:"):
            yield f"{name}.body: auth puts the key into an object; a list has no place for it"
        if call.method == "GET" and (call.body is not None or told.auth.startswith("body:")):
            yield f'{name}.method: a GET has no body; write method = "POST"'
    if told.result is not None and told.poll is None:
        yield "result: needs [poll], whose word for success it follows"
    if told.submit.secret is not None and told.submit.callback is None:
        yield "submit.secret: needs submit.callback, with which it goes"


def _resolve(told: "Description") -> Iterator[str]:
    if not isinstance(told.resolve, str) and told.resolve is not None:
        for text in (told.resolve.path, *told.resolve.query.values()):
            yield from _braces("resolve", text, SOURCE_NAMES)
        if told.resolve.url is None and not told.resolve.redirect:
            yield "resolve: needs url, the place of the link in the answer"
    if told.resolve == "repoll" and told.poll is None:
        yield 'resolve: "repoll" needs [poll]'


def _names_the_job(call: "Call") -> bool:
    texts = (call.path or "", *call.query.values(), repr(call.body))
    return any("{id}" in text or "{own}" in text for text in texts)


def _braces(where: str, text: str, known: frozenset[str]) -> Iterator[str]:
    for name in _BRACES.findall(text):
        if name not in known:
            yield f"{where}: no name {{{name}}}; known: {', '.join(f'{{{one}}}' for one in sorted(known))}"


def _ends(told: "Description", *, covered: bool) -> Iterator[str]:
    """Yield the groups of operations of which nothing tells the end of a job."""
    for number, group in enumerate(told.operations):
        if group.answered or (covered and group.callback) or (told.poll is not None and group.poll):
            continue
        if told.poll is None:
            yield "poll: without it and without [callback] nothing tells the end of a job"
        else:
            yield f"operations.{number}: neither a poll nor a proved callback tells the end of a job"


def _codes(told: "Description") -> Iterator[str]:
    for table, listed in (("errors", told.errors), ("sentences", told.sentences)):
        seen: dict[str, str] = {}
        for kind, codes in listed.items():
            for code in codes:
                other = seen.setdefault(code, kind.value)
                if other != kind.value:
                    yield f"{table}: {code!r} stands in {other} and in {kind.value}; leave it in one of them"
    if told.ok is not None:
        for code in sorted(set(told.ok.equals) & set(told.ok.wrong)):
            yield f"ok.wrong: {code!r} stands in equals, too"


def _places(told: "Description") -> Iterator[str]:
    """Yield the places of a submission that two values would have, or that stand for several."""
    submit = told.submit
    if (
        submit.fields.id is None
        and told.fields.id is None
        and not (submit.idempotency or "").startswith("body:")
    ):
        yield "fields.id: is needed: without the id of a job nothing can be asked about it"
    taken: dict[str, str] = {f"body:/{name}": "submit.always" for name in submit.always}
    taken |= {f"header:{name}": "headers" for name in told.headers}
    key = told.auth if told.auth.startswith(("body:", "header:")) else "header:authorization"
    if taken.get(key) == "headers":
        yield f"headers.{key.removeprefix('header:')}: is the header of the API key, see auth"
    taken[key] = "auth"
    for name in ("callback", "secret", "idempotency"):
        place = getattr(submit, name)
        if place is None:
            continue
        if "*" in place.partition(":")[2].split("/"):
            yield f"submit.{name}: `*` stands for several places; a value has one"
        same = place.lower() if place.startswith("header:") else place
        if (other := taken.setdefault(same, f"submit.{name}")) != f"submit.{name}":
            yield f"submit.{name}: {place!r} is the place of {other}"


def _files(told: "Description") -> Iterator[str]:
    if any(group.source for group in told.files) and (told.resolve is None or told.resolve == "repoll"):
        yield "files.source: needs the call [resolve], which makes a link of it"
    for number, group in enumerate(told.operations):
        if group.kind is not None and not told.files:
            yield f"operations.{number}.kind: a job of a kind ends with a file; say in `files` where it is"


def _rules(told: "Description") -> Iterator[str]:
    names = {name for group in told.operations for name in (*group.names.split(), *group.former)}
    for number, rule in enumerate(told.rules):
        if (rule.needs or rule.excludes) and rule.model_fields_set & _OF_AN_OBJECT:
            extra = ", ".join(sorted(rule.model_fields_set & _OF_AN_OBJECT))
            yield f"rules.{number}: needs and excludes are about values; put {extra} into a rule of its own"
        for name in (rule.operations or "").split():
            if name not in names and "*" not in names:
                yield f"rules.operations: there is no operation {name!r}"


def _settings(told: "Description") -> Iterator[str]:
    for name, setting in told.settings.items():
        place = f"settings.{name}"
        if name.startswith("model_"):
            yield f"{place}: a name may not begin with `model_`"
        if name in OF_ACCOUNTS:
            yield f"{place}: is a setting of every account; choose another name"
        if setting.keeps is not None and setting.kind != "path":
            yield f"{place}.keeps: is for a path"
        if setting.kind == "choice":
            yield from _choice(place, setting)
        yield from _secret(told, place, setting) if setting.kind == "secret" else _plain(place, setting)
        for pointer in setting.sets:
            yield from _set(told, place, pointer)


def _secret(told: "Description", place: str, setting: "Setting") -> Iterator[str]:
    if told.callback is None:
        yield f"{place}: a secret proves callbacks, so [callback] is needed"
    if setting.default is not None:
        yield f"{place}.default: a secret has none; leave it out"
    if setting.sets:
        yield f"{place}.sets: a secret proves callbacks and has no place; leave it out"


def _plain(place: str, setting: "Setting") -> Iterator[str]:
    if not setting.sets:
        yield f"{place}: needs sets, the places that get its value"


def _choice(place: str, setting: "Setting") -> Iterator[str]:
    if not setting.choices:
        yield f"{place}: a choice needs choices"
    elif setting.default is not None and setting.default not in setting.choices:
        yield f"{place}.default: must be one of the choices: {', '.join(setting.choices)}"


def _set(told: "Description", place: str, pointer: str) -> Iterator[str]:
    first = steps(pointer)[:1]
    if not first or first[0] in {"settings", "name", "extends"}:
        yield f"{place}.sets: {pointer!r} is no place that a setting may change"
    elif not _there(told, steps(pointer)):
        yield f"{place}.sets: the description has no {pointer!r}"


def _there(node: object, path: Sequence[str]) -> bool:
    """Return whether a description can have a value at a path. A table that is not there may be made."""
    for step in path:
        if isinstance(node, BaseModel):
            if step not in type(node).model_fields:
                return False
            node = getattr(node, step)
        elif isinstance(node, tuple):
            if not step.isdigit() or int(step) >= len(node):
                return False
            node = node[int(step)]
        elif node is not None and not isinstance(node, Mapping):
            return False
        else:
            node = None if node is None else node.get(step)
    return True
