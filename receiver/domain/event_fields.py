"""The fields of the events' data, by the family of their type, as filters name them: pure tables."""

from collections.abc import Mapping, Sequence

from handlers.contract import FailureCode
from receiver.domain.event_types import EVERY_SOURCE, TYPES, wants
from receiver.domain.filter_operators import FieldKind
from receiver.domain.model import By, EndpointState, State, WaitReason

_JOB: Mapping[str, FieldKind] = {
    "object": FieldKind.TEXT,
    "id": FieldKind.TEXT,
    "provider": FieldKind.TEXT,
    "operation": FieldKind.TEXT,
    "state": FieldKind.TEXT,
    "provider_job_id": FieldKind.TEXT,
    "progress": FieldKind.NUMBER,
    "metadata": FieldKind.TEXTS,
    "assets": FieldKind.LIST,
    "error": FieldKind.OBJECT,
    "error.code": FieldKind.TEXT,
    "error.message": FieldKind.TEXT,
    "error.provider_code": FieldKind.TEXT,
    "usage": FieldKind.OPEN,
    "waiting": FieldKind.OBJECT,
    "waiting.reason": FieldKind.TEXT,
    "waiting.detail": FieldKind.TEXT,
    "waiting.since": FieldKind.MOMENT,
    "waiting.until": FieldKind.MOMENT,
    "completed_by": FieldKind.TEXT,
    "created_at": FieldKind.MOMENT,
    "updated_at": FieldKind.MOMENT,
    "completed_at": FieldKind.MOMENT,
    "deadline_at": FieldKind.MOMENT,
    "sequence": FieldKind.NUMBER,
}
_PROVIDER: Mapping[str, FieldKind] = {
    "object": FieldKind.TEXT,
    "id": FieldKind.TEXT,
    "handler": FieldKind.TEXT,
    "blocked": FieldKind.FLAG,
    "reason": FieldKind.TEXT,
    "at": FieldKind.MOMENT,
    "sequence": FieldKind.NUMBER,
}
_ENDPOINT: Mapping[str, FieldKind] = {
    "object": FieldKind.TEXT,
    "id": FieldKind.TEXT,
    "url": FieldKind.TEXT,
    "state": FieldKind.TEXT,
    "failing_since": FieldKind.MOMENT,
    "disable_at": FieldKind.MOMENT,
    "last_status": FieldKind.NUMBER,
    "last_error": FieldKind.TEXT,
    "disabled_reason": FieldKind.TEXT,
    "disabled_at": FieldKind.MOMENT,
    "at": FieldKind.MOMENT,
    "sequence": FieldKind.NUMBER,
}
_SOURCE: Mapping[str, FieldKind] = {
    "object": FieldKind.TEXT,
    "id": FieldKind.TEXT,
    "source": FieldKind.TEXT,
    "sender_id": FieldKind.TEXT,
    "received_at": FieldKind.MOMENT,
    "headers": FieldKind.TEXTS,
    "body": FieldKind.OPEN,
    "body_base64": FieldKind.TEXT,
    "update": FieldKind.OPEN,
    "sequence": FieldKind.NUMBER,
}
FIELDS: Mapping[str, Mapping[str, FieldKind]] = {
    "job": _JOB,
    "provider": _PROVIDER,
    "endpoint": _ENDPOINT,
    "source": _SOURCE,
}
"""The fields of each family of event types. A job's `result` is not among them: events carry it only for
endpoints that include it.
"""
WORDS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "job": {
        "object": ("job",),
        "state": tuple(state.value for state in State),
        "completed_by": tuple(by.value for by in By),
        "error.code": tuple(code.value for code in FailureCode),
        "waiting.reason": tuple(reason.value for reason in WaitReason),
    },
    "provider": {"object": ("provider",)},
    "endpoint": {"object": ("endpoint",), "state": tuple(state.value for state in EndpointState)},
    "source": {"object": ("message",)},
}
"""The fields that hold one of a few words, by family."""


HOLDING: Mapping[FieldKind | None, FieldKind] = {
    FieldKind.TEXTS: FieldKind.TEXT,
    FieldKind.OPEN: FieldKind.ANY,
}
"""The kind of the fields inside of an object with free names."""


def families(patterns: Sequence[str]) -> list[str]:
    """Return the families of the event types that `patterns` include."""
    types = [name for name in TYPES if wants(tuple(patterns), name)]
    # A source has any name, so its types are judged by the pattern.
    types += [name for name in patterns if name.startswith("source.")]
    types += [EVERY_SOURCE] if "*" in patterns else []
    return [family for family in FIELDS if any(name.startswith(f"{family}.") for name in types)]


def fields_of(names: Sequence[str]) -> dict[str, FieldKind]:
    """Return the fields of some families, those of the first one first."""
    found: dict[str, FieldKind] = {}
    for name in names:
        found = {**FIELDS[name], **found}
    return found


def words_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the words of each field of some families that holds one of a few in all of them."""
    found: dict[str, list[str]] = {}
    for path in fields_of(names):
        lists = [WORDS[name].get(path) for name in names if path in FIELDS[name]]
        if all(lists):
            found[path] = [word for words in lists for word in words or ()]
    return found


def split(path: str, fields: Mapping[str, FieldKind]) -> tuple[str, ...]:
    """Return the keys that a dotted path walks through. Those of texts such as `metadata` may have dots."""
    first, _, rest = path.partition(".")
    if rest and fields.get(first) is FieldKind.TEXTS:
        return first, rest
    return tuple(path.split("."))
