"""The raw messages of a job's provider over HTTP, without secrets."""

from typing import Any, Literal

from pydantic import Field
from starlette.responses import Response

from handlers import json
from receiver.api.guard import RequestContext
from receiver.api.jobs import job_id_of
from receiver.api.paging import foreign_cursor, rendered
from receiver.api.requests import Count, QueryModel
from receiver.api.responses import Moment, ResponseModel
from receiver.domain.model import Job
from receiver.domain.rendering import stamp
from receiver.providers.accounts import Accounts
from receiver.security.ids import is_id
from receiver.security.redaction import forms, hide
from receiver.store import evidence
from receiver.store.evidence import RawMessage

CUT = 64 * 1024
"""The most characters of a body that are shown."""
ESCAPED = "it is no JSON and has escapes, in which a secret could be spelled, so it is not shown"
UNSAFE = "the account of this job is not configured, so its secrets are not known and nothing is shown"


class MessageQuery(QueryModel):
    """A page of the messages of a job."""

    limit: Count = Field(default=50, ge=1, le=200, description="how many")
    cursor: str | None = Field(
        default=None, min_length=1, max_length=200, description="the `next_cursor` of the page before"
    )


class MessageResponse(ResponseModel):
    """A message of the provider as it came: secrets are replaced, and a long body is cut."""

    object: Literal["raw_message"]
    id: str
    at: Moment
    kind: Literal["submission", "callback", "poll", "note"]
    outcome: str
    headers: dict[str, str]
    body: str
    bytes: int
    cut: bool


async def list_(context: RequestContext) -> Response:
    """List the raw messages that are kept of a job, oldest first."""
    query: MessageQuery = context.query
    if query.cursor is not None and not is_id("evd", query.cursor):
        raise foreign_cursor()
    services, job_id = context.services, job_id_of(context)
    job, _ = await services.jobs.get(job_id)
    found = await services.store.read(evidence.messages(job_id, query.cursor or "", query.limit + 1))
    shown, more = found[: query.limit], len(found) > query.limit
    secrets = _secrets(services.providers.accounts, job)
    return await rendered(
        shown, lambda one: json.write(_json(one, secrets)), next_cursor=shown[-1].id if more else None
    )


def _secrets(accounts: Accounts, job: Job) -> list[str] | None:
    """Return the spellings of the job's secrets, None where they are not known."""
    return forms(accounts.secrets_of(job)) if job.account in accounts.setups else None


def _json(message: RawMessage, secrets: list[str] | None) -> dict[str, Any]:
    headers, body = _plain(message, secrets) if secrets is not None else ({}, UNSAFE)
    return {
        "object": "raw_message",
        "id": message.id,
        "at": stamp(message.at),
        "kind": message.kind,
        "outcome": message.outcome,
        "headers": headers,
        "body": body[:CUT],
        "bytes": len(message.body),
        "cut": len(body) > CUT,
    }


def _plain(message: RawMessage, secrets: list[str]) -> tuple[dict[str, str], str]:
    """Return headers and body without secrets. JSON is read first: escapes spell a secret in another way."""
    headers = {str(name): str(hide(str(value), secrets)) for name, value in message.headers}
    try:
        return headers, json.write(hide(json.forgive(message.body), secrets)).decode("utf-8", "replace")
    except json.BadJson:
        text = message.body.decode("utf-8", "replace")
    return headers, ESCAPED if "\\" in text else str(hide(text, secrets))
