"""Conversions between rows and domain objects."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from typing import Any

from pydantic_core import from_json

from handlers import json
from handlers.contract import Asset, FailureCode, Kind
from receiver.domain.filter_reader import stored_filter
from receiver.domain.model import (
    By,
    Endpoint,
    EndpointState,
    Event,
    Job,
    JobError,
    Source,
    State,
    Waiting,
    WaitReason,
    Work,
)
from receiver.store.schema import TABLES, named
from receiver.store.statements import Row, from_ms, moment, ms, to_ms

UNOWNED = ""
"""The owner of due work that no replica has leased."""
ENDPOINTS = f"select {named('endpoint')} from endpoint where deleted_at is null order by id"
JOB_FIELDS = tuple(one.name for one in fields(Job))
JOB_SEEN = ", ".join(JOB_FIELDS)
"""Every column but the inputs, which are read only where they are needed."""
JOB_MOMENTS = (
    "created_at",
    "updated_at",
    "deadline_at",
    "completed_at",
    "progressed_at",
    "missing_since",
    "hint_after",
    "assets_revoked_at",
)
JOB_FLAGS = ("expects_callback", "callback_off", "poll_wanted", "cancel_wanted")
ASSET_FIELDS = tuple(one.name for one in fields(Asset))
ASSET_MOMENTS = frozenset({"expires_at", "deletes_at"})


def _dump(value: object) -> str | None:
    return None if value is None else json.write(value).decode()


def _load(stored: str | None) -> Any:
    return None if stored is None else from_json(stored)


@functools.lru_cache(maxsize=1024)
def _patterns(stored: str) -> tuple[str, ...]:
    """Return the event types of endpoints; the same object for all endpoints that have the same ones."""
    return tuple(from_json(stored))


def write_assets(assets: tuple[Asset, ...]) -> str | None:
    """Return assets as they are stored: only the known values of each."""
    if not assets:
        return None
    return _dump([_known(asset) for asset in assets])


def _known(asset: Asset) -> dict[str, Any]:
    found = {name: value for name in ASSET_FIELDS if (value := getattr(asset, name)) is not None}
    for name in ASSET_MOMENTS & found.keys():
        found[name] = ms(found[name])
    return found


def read_assets(stored: str | None) -> tuple[Asset, ...]:
    """Return the assets of a stored value."""
    if stored is None:
        return ()
    return tuple(_asset(one) for one in from_json(stored))


def _asset(stored: Mapping[str, Any]) -> Asset:
    known = dict(stored, kind=Kind(stored["kind"]))
    for name in ASSET_MOMENTS & known.keys():
        known[name] = moment(known[name])
    return Asset(**known)


def _write_error(error: JobError | None) -> str | None:
    return _dump([error.code.value, error.message, error.provider_code]) if error else None


def _write_waiting(waiting: Waiting | None) -> str | None:
    if waiting is None:
        return None
    return _dump([waiting.reason.value, waiting.detail, ms(waiting.since), to_ms(waiting.until)])


_FIXED: Mapping[str, Callable[[Job], Any]] = {
    "id": attrgetter("id"),
    "account": attrgetter("account"),
    "operation": attrgetter("operation"),
    "created_at": lambda job: ms(job.created_at),
    "deadline_at": lambda job: ms(job.deadline_at),
    "metadata": lambda job: _dump(dict(job.metadata)),
    "provider_job_id": attrgetter("provider_job_id"),
    "callback_url": attrgetter("callback_url"),
    "callback_secret": attrgetter("callback_secret"),
    "intents": attrgetter("intents"),
    "assets_revoked_at": lambda job: to_ms(job.assets_revoked_at),
    "kept_url": attrgetter("kept_url"),
    "traceparent": attrgetter("traceparent"),
}
"""The columns that no change of a job writes with the others, and the value of each. The provider's id is
written once, with its URL: naming it in every change would rewrite its index each time.
"""
_CHANGING: Mapping[str, Callable[[Job], Any]] = {
    "state": lambda job: job.state.value,
    "updated_at": lambda job: ms(job.updated_at),
    "completed_at": lambda job: to_ms(job.completed_at),
    "progress": attrgetter("progress"),
    "progressed_at": lambda job: to_ms(job.progressed_at),
    "assets": lambda job: write_assets(job.assets),
    "result": lambda job: None if job.result is None else job.result.decode(),
    "error": lambda job: _write_error(job.error),
    "usage": lambda job: _dump(job.usage),
    "completed_by": lambda job: job.completed_by.value if job.completed_by else None,
    "sequence": attrgetter("sequence"),
    "misses": attrgetter("misses"),
    "missing_since": lambda job: to_ms(job.missing_since),
    "quiet_poll": attrgetter("quiet_poll"),
    "expects_callback": lambda job: int(job.expects_callback),
    "callback_off": lambda job: int(job.callback_off),
    "poll_wanted": lambda job: int(job.poll_wanted),
    "guessed_id": attrgetter("guessed_id"),
    "hinted_polls": attrgetter("hinted_polls"),
    "hint_after": lambda job: to_ms(job.hint_after),
    "heard": attrgetter("heard"),
    "heard_bytes": attrgetter("heard_bytes"),
    "overflow": attrgetter("overflow"),
    "cancel_wanted": lambda job: int(job.cancel_wanted),
    "waiting": lambda job: _write_waiting(job.waiting),
}
"""The columns that reports change, and the value of each."""
JOB_CHANGES = tuple(_CHANGING)
_SELDOM = (
    "error",
    "misses",
    "missing_since",
    "quiet_poll",
    "expects_callback",
    "callback_off",
    "poll_wanted",
    "guessed_id",
    "hinted_polls",
    "hint_after",
    "overflow",
    "cancel_wanted",
    "waiting",
)
JOB_USUAL_CHANGES = tuple(name for name in JOB_CHANGES if name not in _SELDOM)
"""The columns to write for most reports, which change no other: half as many, at two thirds of the cost."""
_VALUES = {columns: [_CHANGING[name] for name in columns] for columns in (JOB_CHANGES, JOB_USUAL_CHANGES)}
_seldom = attrgetter(*_SELDOM)


def changed_columns(before: Job, after: Job) -> tuple[str, ...]:
    """Return the columns to write: `JOB_USUAL_CHANGES` where no other changed, else `JOB_CHANGES`."""
    return JOB_USUAL_CHANGES if _seldom(before) == _seldom(after) else JOB_CHANGES


def job_changes(job: Job, columns: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the values of `JOB_CHANGES` or `JOB_USUAL_CHANGES`."""
    return tuple([value(job) for value in _VALUES[columns]])


def job_row(job: Job, whole_input: bytes, shown_input: bytes) -> tuple[Any, ...]:
    """Return a new job as a row of `job`."""
    values = {column: value(job) for column, value in {**_FIXED, **_CHANGING}.items()}
    values |= {"input": whole_input, "input_shown": shown_input}
    return tuple(values[column] for column in TABLES["job"])


def _read_waiting(stored: str | None) -> Waiting | None:
    if stored is None:
        return None
    reason, detail, since, until = from_json(stored)
    return Waiting(WaitReason(reason), detail, moment(since), from_ms(until))


def read_job(row: Row) -> Job:
    """Return the job of a row that begins with the columns `JOB_SEEN`.

    Columns are read by place: looking 25 of them up by name took longer than all the rest.
    """
    values: dict[str, Any] = dict(zip(JOB_FIELDS, row, strict=False))
    for name in JOB_MOMENTS:
        values[name] = from_ms(values[name])
    for name in JOB_FLAGS:
        values[name] = bool(values[name])
    error, by, result = values["error"], values["completed_by"], values["result"]
    values["state"] = State(values["state"])
    values["metadata"] = from_json(values["metadata"])
    values["assets"] = read_assets(values["assets"])
    values["result"] = result.encode() if result is not None else None
    values["usage"] = _load(values["usage"])
    values["completed_by"] = By(by) if by else None
    values["waiting"] = _read_waiting(values["waiting"])
    if error is not None:
        code, message, provider_code = from_json(error)
        values["error"] = JobError(FailureCode(code), message, provider_code)
    return Job.of(values)


def read_event(row: Row) -> Event:
    """Return the event of a row of `event`."""
    return Event(
        id=row["id"],
        type=row["type"],
        job_id=row["job"],
        at=moment(row["at"]),
        sequence=row["sequence"],
        body=row["body"],
        result=row["result"],
    )


def event_row(event: Event) -> tuple[Any, ...]:
    """Return an event as a row of `event`."""
    return (event.id, event.type, event.job_id, ms(event.at), event.sequence, event.body, event.result)


def endpoint_row(endpoint: Endpoint, sealed_headers: bytes | None, sealed_secrets: bytes) -> tuple[Any, ...]:
    """Return an endpoint as a row of `endpoint`, with its headers and secrets encrypted already."""
    return (
        endpoint.id,
        endpoint.url,
        _dump(list(endpoint.events)),
        ms(endpoint.created_at),
        ms(endpoint.updated_at),
        endpoint.state.value,
        endpoint.disabled_reason,
        endpoint.description,
        sealed_headers,
        _dump(list(endpoint.include)),
        endpoint.max_in_flight,
        sealed_secrets,
        int(endpoint.from_file),
        None,
        endpoint.filter.text if endpoint.filter is not None else None,
        _dump(list(endpoint.signatures)),
        _dump([ms(moment) for moment in endpoint.retire_at]),
        None if endpoint.retry_schedule is None else _dump(list(endpoint.retry_schedule)),
        endpoint.timeout,
        endpoint.rate_limit,
        endpoint.format,
        endpoint.template,
    )


def read_endpoint(row: Row, headers: Mapping[str, str], secrets: tuple[str, ...]) -> Endpoint:
    """Return the endpoint of a row of `endpoint`, with its headers and secrets decrypted already."""
    return Endpoint(
        id=row["id"],
        url=row["url"],
        events=_patterns(row["events"]),
        created_at=moment(row["created_at"]),
        updated_at=moment(row["updated_at"]),
        state=EndpointState(row["state"]),
        disabled_reason=row["disabled_reason"],
        description=row["description"],
        headers=headers,
        include=tuple(_load(row["include"])),
        max_in_flight=row["max_in_flight"],
        secrets=secrets,
        from_file=bool(row["from_file"]),
        filter=stored_filter(row["filter"]) if row["filter"] is not None else None,
        signatures=tuple(_load(row["signatures"])),
        retire_at=tuple(moment(at) for at in _load(row["retire_at"])),
        retry_schedule=None if row["retry_schedule"] is None else tuple(_load(row["retry_schedule"])),
        timeout=row["timeout"],
        rate_limit=row["rate_limit"],
        format=row["format"],
        template=row["template"],
    )


def first_id(kind: str, at: int) -> str:
    """Return the beginning of ids made at `at` (milliseconds): all older ids sort before it."""
    # Ids begin with 48 bits of milliseconds. Why: receiver/README.md#hexadecimal-ids
    return f"{kind}_{at:012x}"


def due_row(
    *,
    id: str,  # noqa: A002  # the columns of the table
    work: Work,
    lane: str,
    at: datetime,
    fence: int = 0,
    tries: int = 0,
    owner: str | None = None,
) -> tuple[Any, ...]:
    """Return due work as a row of `due`. With an owner it is leased to that replica until `at`."""
    return (id, work.value, lane, ms(at), int(owner is not None), fence, tries, owner or UNOWNED)


def delivery_row(
    *,
    id: str,  # noqa: A002  # the columns of the table
    event: str,
    target: str,
    job: str | None,
    at: datetime,
    origin: str = "",
) -> tuple[Any, ...]:
    """Return a pending delivery as a row of `delivery`. `origin` is `test` for a ping."""
    return (id, event, target, origin, job, "pending", ms(at), ms(at), 0, None)


def evidence_row(
    *,
    id: str,  # noqa: A002  # the columns of the table
    job: str,
    at: datetime,
    kind: Source,
    outcome: str,
    details: Mapping[str, Any],
    headers: bytes | None = None,
    body: bytes | None = None,
) -> tuple[Any, ...]:
    """Return a timeline entry as a row of `evidence`, counted once so far."""
    return (id, job, ms(at), kind.value, outcome, _dump(details), headers, body, 1, ms(at))
