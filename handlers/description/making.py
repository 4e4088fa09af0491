"""The maker of handlers: a description becomes the same record of functions as a handler in Python."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from handlers import json
from handlers.contract import (
    RECEIVED,
    REPOLL,
    SUBMIT_TIMEOUT,
    SYNCHRONOUS,
    Cadence,
    Callback,
    Exchange,
    Handler,
    HttpAnswer,
    HttpMessage,
    Options,
    Provider,
    Submission,
    no_challenge,
)
from handlers.description import loading, proving
from handlers.description.account_settings import BadPlace, applied, options_of, secrets_of
from handlers.description.answers import Answers
from handlers.description.calls import Call, Resolve
from handlers.description.checks import checker
from handlers.description.loading import BadDescription, LoadedDescription
from handlers.description.reading import Reader
from handlers.description.requests import FormedOperation, Requests
from handlers.description.summary import facts_of
from handlers.description.terms import Meaning
from handlers.description.vocabulary import Description
from handlers.errors import BadPayload
from handlers.pointers import steps

EVERY = "*"
BODY = "body:"
RESERVED = frozenset({"webhook_url", "webhook_secret", "callback_url"})
_WORDS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:")
_LONGEST = 200


class OpenOperations(Mapping[str, FormedOperation]):
    """A table of operations in which other names are operations too, chosen by their endings."""

    def __init__(self, named: Mapping[str, FormedOperation], others: Mapping[str, FormedOperation]) -> None:
        self._named = named
        # The longest ending is the narrowest, and the empty one takes all that are left.
        self._others = sorted(others.items(), key=lambda one: -len(one[0]))

    def __getitem__(self, name: str) -> FormedOperation:
        """Return an operation. Raises `KeyError` for a name of other characters, or of another ending."""
        found = self._named.get(name)
        if found is not None:
            return found
        parts = name.split("/")
        if not name or len(name) > _LONGEST or not _WORDS.issuperset(name) or {"", ".", ".."} & set(parts):
            raise KeyError(name)
        for ending, other in self._others:
            if name.endswith(ending):
                return _at(other, name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the named operations: the others cannot be counted."""
        return iter(self._named)

    def __len__(self) -> int:
        """Return the number of named operations."""
        return len(self._named)


def provider(path: Path) -> Provider:
    """Return the provider that a file describes. Raises `BadDescription`."""
    loaded = loading.load(path)
    told = loaded.told
    if faults := [f"{path}: example: {fault}" for fault in _faults_of_example(told)]:
        raise BadDescription(*faults)
    plain: list[Handler] = []

    def configure(options: Options) -> Handler:
        if told.settings:
            return _configured(path, loaded, options)
        # Without settings all accounts share one compiled handler.
        if not plain:
            plain.append(handler(told))
        return plain[0]

    return Provider(told.name, options_of(told), configure, facts_of(told))


def _faults_of_example(told: Description) -> Iterator[str]:
    """Yield the reasons for which an account would refuse the example."""
    for name in sorted(_reserved(told)):
        node: Any = told.example
        for step in name.split("/"):
            node = node.get(step) if isinstance(node, Mapping) else None
        if node is not None:
            yield f"/{name} is filled in by the service; leave it out"
    operation = next(name for group in told.operations for name in group.names.split() if name[0] != EVERY)
    for problem in checker(told.rules)(Submission("job", operation, told.example)):
        if not problem.warning:
            yield f"{problem.pointer}: {problem.detail}"


def _configured(path: Path, loaded: LoadedDescription, options: Options) -> Handler:
    try:
        tables = applied(loaded.tables, loaded.told, options)
        told = loaded.told if tables is loaded.tables else Description.model_validate(tables)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        raise BadDescription(f"{path}: with this setting: {loading.complaint(found, Description)}") from None
    except BadPlace as error:
        raise BadDescription(f"{path}: {error}") from None
    return handler(told, secrets_of(loaded.told, options))


def handler(told: Description, secrets: tuple[str, ...] = ()) -> Handler:
    """Return the handler of a description, for an account with these signing secrets."""
    operations = _operations(told)
    requests, reader = Requests(told, operations), Reader(told)
    answers = Answers(told, reader)

    def call(rule: Call | None, wordless: Meaning | None = None) -> Exchange[Any, Any] | None:
        return None if rule is None else Exchange(requests.call(rule), answers.call(rule, wordless))

    resolve = told.resolve
    return Handler(
        name=told.name,
        base_url=told.base_url,
        operations=operations,
        check=checker(told.rules),
        submit=Exchange(requests.submit, answers.submitted),
        poll=call(told.poll),
        # The poll has said that the job succeeded: what this answer has no word for is not open again.
        result=call(told.result, Meaning.SUCCEEDED),
        cancel=call(told.cancel),
        resolve=(
            Exchange(requests.resolve(resolve), answers.resolved(resolve))
            if isinstance(resolve, Resolve)
            else REPOLL
            if resolve
            else None
        ),
        callback=_callback(told, reader, secrets),
        cadence=_cadence(told),
        idempotent_submit=told.submit.idempotency is not None,
        callback_secrets=secrets,
        reserved=_reserved(told),
        example=told.example,
    )


def _reserved(told: Description) -> frozenset[str]:
    """Return the fields of a submission's body that the service fills in; `a/b` is one inside an object."""
    submit = told.submit
    places = (told.auth, submit.callback, submit.secret, submit.idempotency)
    paths = [steps(place.removeprefix(BODY)) for place in places if place and place.startswith(BODY)]
    own = {"/".join(path) for path in paths}
    return RESERVED.union(told.reserved, own, submit.with_callback, submit.always)


def _callback(told: Description, reader: Reader, secrets: tuple[str, ...]) -> Callback | None:
    rule = told.callback
    if rule is None:
        return None
    view = reader.view(rule.fields)
    parse = Answers(told, reader).called_back(view)
    acknowledgement = (
        HttpAnswer(200, rule.acknowledgement.encode(), "text/plain") if rule.acknowledgement else RECEIVED
    )
    return Callback(
        proving.verifier(rule.proof),
        parse,
        _challenge(rule.challenge, parse) if rule.challenge else no_challenge,
        provable=proving.provable(rule.proof, secrets=bool(secrets)),
        account_wide=proving.account_wide(rule.proof),
        received=acknowledgement,
        worded=bool(told.words),
        keys_url=rule.proof.keys_url,
    )


def _challenge(name: str, parse: Callable[[HttpMessage], Any]) -> Callable[[HttpMessage], HttpAnswer | None]:
    quoted = json.write(name)

    def challenge(message: HttpMessage) -> HttpAnswer | None:
        # Most bodies are no challenge and need not be parsed here.
        if quoted not in message.body:
            return None
        try:
            value = json.read_object(message.body).get(name)
            # A report about a task is never a challenge, even with a field of that name.
            if not isinstance(value, str) or parse(message).provider_job_id is not None:
                return None
        except (json.BadJson, BadPayload):
            return None
        return HttpAnswer(200, json.write({name: value}))

    return challenge


def _operations(told: Description) -> Mapping[str, FormedOperation]:
    found: dict[str, FormedOperation] = {}
    others: dict[str, FormedOperation] = {}
    for group in told.operations:
        one = FormedOperation(
            group.path,
            group.kind,
            callback=group.callback,
            poll=group.poll,
            submit_timeout=SYNCHRONOUS if group.answered else SUBMIT_TIMEOUT,
            asked=group.asked,
            form=group.form or told.submit.form,
        )
        for name in group.names.split():
            if name.startswith(EVERY):
                others[name.removeprefix(EVERY)] = one
            else:
                found[name] = _at(one, name)
    for group in told.operations:
        found |= {former: found[name] for former, name in group.former.items()}
    return OpenOperations(found, others) if others else found


def _at(one: FormedOperation, name: str) -> FormedOperation:
    return replace(one, path=one.path.replace("{name}", name))


def _cadence(told: Description) -> Cadence:
    table = told.cadence
    first, interval, ceiling, backstop = (
        timedelta(seconds=one) for one in (table.first, table.interval, table.ceiling, table.backstop)
    )
    return Cadence(first, interval, table.factor, ceiling, backstop)
