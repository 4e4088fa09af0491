"""The tables as data: the columns of each, in order, with their PostgreSQL types.

The drivers build their batch statements from it. The migrations create the same tables, and the tests compare
the two.
"""

from collections.abc import Mapping

TABLES: Mapping[str, Mapping[str, str]] = {
    "job": {
        "id": "text",
        "account": "text",
        "operation": "text",
        "state": "text",
        "created_at": "bigint",
        "updated_at": "bigint",
        "deadline_at": "bigint",
        "completed_at": "bigint",
        "provider_job_id": "text",
        "progress": "double precision",
        "progressed_at": "bigint",
        "metadata": "text",
        "assets": "text",
        "result": "text",
        "error": "text",
        "usage": "text",
        "completed_by": "text",
        "sequence": "bigint",
        "misses": "bigint",
        "missing_since": "bigint",
        "quiet_poll": "text",
        "expects_callback": "bigint",
        "callback_url": "text",
        "callback_secret": "bytea",
        "callback_off": "bigint",
        "poll_wanted": "bigint",
        "input": "bytea",
        "input_shown": "bytea",
        "guessed_id": "text",
        "intents": "bigint",
        "hinted_polls": "bigint",
        "hint_after": "bigint",
        "heard": "bigint",
        "heard_bytes": "bigint",
        "overflow": "text",
        "cancel_wanted": "bigint",
        "waiting": "text",
    },
    "input_piece": {"job": "text", "number": "bigint", "piece": "bytea"},
    "job_label": {"label": "bytea", "job": "text"},
    "idempotency": {"owner": "text", "key": "text", "job": "text", "digest": "bytea"},
    "evidence": {
        "id": "text",
        "job": "text",
        "at": "bigint",
        "kind": "text",
        "outcome": "text",
        "told": "text",
        "headers": "bytea",
        "body": "bytea",
        "count": "bigint",
        "last_at": "bigint",
    },
    "event": {
        "id": "text",
        "type": "text",
        "job": "text",
        "at": "bigint",
        "sequence": "bigint",
        "body": "bytea",
        "result": "bytea",
    },
    "delivery": {
        "id": "text",
        "event": "text",
        "target": "text",
        "origin": "text",
        "job": "text",
        "state": "text",
        "created_at": "bigint",
        "updated_at": "bigint",
        "tries": "bigint",
        "reason": "text",
    },
    "attempt": {
        "id": "text",
        "delivery": "text",
        "at": "bigint",
        "status": "bigint",
        "latency_ms": "double precision",
        "error": "text",
        "answer": "bytea",
    },
    "due": {
        "id": "text",
        "work": "text",
        "lane": "text",
        "at": "bigint",
        "leased": "bigint",
        "fence": "bigint",
        "tries": "bigint",
        "owner": "text",
    },
    "endpoint": {
        "id": "text",
        "url": "text",
        "events": "text",
        "created_at": "bigint",
        "updated_at": "bigint",
        "state": "text",
        "disabled_reason": "text",
        "description": "text",
        "headers": "bytea",
        "include": "text",
        "max_in_flight": "bigint",
        "secrets": "bytea",
        "from_file": "bigint",
        "deleted_at": "bigint",
        "filter": "text",
        "signatures": "text",
        "retire_at": "text",
        "retry_schedule": "text",
        "timeout": "double precision",
        "rate_limit": "double precision",
        "format": "text",
        "template": "text",
    },
    "endpoint_health": {
        "endpoint": "text",
        "failures": "bigint",
        "failing_since": "bigint",
        "announced": "bigint",
        "last_at": "bigint",
        "last_status": "bigint",
        "last_error": "text",
    },
    "endpoint_version": {"endpoint": "text", "since": "bigint", "events": "text", "filter": "text"},
    "api_key": {
        "id": "text",
        "name": "text",
        "hash": "bytea",
        "scopes": "text",
        "created_at": "bigint",
        "expires_at": "bigint",
    },
    "account": {"name": "text", "blocked_at": "bigint", "reason": "text", "blocks": "bigint"},
    "tally": {"account": "text", "minute": "bigint", "what": "text", "count": "bigint"},
    "meta": {"key": "text", "value": "text"},
    "taken": {
        "target": "text",
        "reason": "text",
        "count": "bigint",
        "first_at": "bigint",
        "last_at": "bigint",
    },
    "replica": {"id": "text", "role": "text", "seen_at": "bigint", "kids": "text"},
    "erased": {"id": "text", "place": "bigint", "at": "bigint"},
    "hold": {"lane": "text", "until": "bigint"},
}


def columns(table: str, *, numbered: bool = False) -> Mapping[str, str]:
    """Return the columns of a table with their types. `numbered` puts `seq`, an event's number, first."""
    return {"seq": "bigint", **TABLES[table]} if numbered else TABLES[table]


def named(table: str, prefix: str = "", *, numbered: bool = False) -> str:
    """Return the columns of a table, joined for a `select`.

    They replace `*`, whose rows change their shape when a newer release adds a column: PostgreSQL then
    refuses the statements that an older release has prepared.
    """
    return ", ".join(f"{prefix}{column}" for column in columns(table, numbered=numbered))
