"""Jobs of simulated providers, and the handlers that read their messages."""

from datetime import UTC, datetime
from typing import Any

import handlers
from handlers import json
from handlers.captures import ACCOUNT_SECRET
from handlers.contract import Handler, HttpMessage, Keys, Update
from receiver.egress.key_sets import read_keys
from receiver.sandbox.providers import SPEAKERS, account_settings
from receiver.sandbox.signing import key_set
from receiver.sandbox.world import Made

API_KEY = "sandbox-key"
JOB_SECRET = "job-secret"
KEYS = Keys(job=(JOB_SECRET,), account=(ACCOUNT_SECRET, *read_keys(key_set())), api=(API_KEY,))


def handler_of(name: str) -> Handler:
    """Return the handler of a provider, with the settings that its simulation needs."""
    provider = handlers.ALL[name]
    return provider.configure(
        provider.options.model_validate(account_settings(name, f"http://127.0.0.1:9090/{name}"))
    )


def path_of(name: str, operation: str) -> str:
    """Return the path of an operation as the simulation knows it."""
    return handler_of(name).operations[operation].path.removeprefix("/")


def made(name: str, words: str = "", **others: Any) -> Made:
    """Return an accepted job of a provider's first operation, with the words of its prompt."""
    values: dict[str, Any] = {
        "id": "123" if name in {"minimax", "gately"} else f"{name}-1",
        "provider": name,
        "operation": path_of(name, handler_of(name).default_operation),
        "input": {},
        "words": frozenset(words.split()),
        "key": API_KEY,
        "started": 0.0,
        "takes": 10.0,
        "origin": f"http://127.0.0.1:9090/{name}",
        "secret": JOB_SECRET,
    }
    return Made(**values | others)


def message(body: bytes, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> HttpMessage:
    """Return a message that was received now."""
    return HttpMessage(status, headers, body, datetime.now(UTC))


def read(name: str, body: dict[str, Any]) -> Update:
    """Return the update that a provider's handler reads in the body of a poll's answer."""
    poll = handler_of(name).poll
    assert poll is not None
    return poll.parse(message(json.write(body)))


def callback(name: str, job: Made, phase: str, progress: int, *, forged: bool = False) -> HttpMessage:
    """Return the callback of a simulated provider as the service receives it."""
    says = SPEAKERS[name].says
    assert says is not None
    sent = says(job, phase, progress, forged)
    assert sent is not None
    return message(sent.body, headers=sent.headers)
