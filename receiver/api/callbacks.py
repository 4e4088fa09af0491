"""The callback route: the hot path, served without the router, below ASGI or as plain ASGI."""

import logging
from collections.abc import Awaitable

from starlette.types import Receive, Scope, Send

from handlers.contract import HttpAnswer
from receiver.api.access_log import AccessLog
from receiver.api.fast_path import RawResponse
from receiver.api.guard import CALLBACK_LIMIT, new_request_id, problem, read_body
from receiver.domain.errors import Internal, MethodNotAllowed, ReceiverError
from receiver.providers.accounts import CALLBACK_PREFIX
from receiver.providers.callbacks import CallbackReceiver

LOGGER = logging.getLogger("ringback.callbacks")


async def answer(callbacks: CallbackReceiver, log: AccessLog, scope: Scope, body: bytes) -> RawResponse:
    """Receive one callback with its whole body. Returns the response; `log` logs refusals. Never raises."""
    account, _, token = scope["path"].removeprefix(CALLBACK_PREFIX).partition("/")
    taken = callbacks.take(account, token.removesuffix("/"), headers_of(scope), body, _target(scope))
    return await respond(log, scope, taken)


def _target(scope: Scope) -> str:
    """Return the path of a request with its query, as they were sent."""
    path, query = (scope.get(name) or b"" for name in ("raw_path", "query_string"))
    return (path + b"?" + query if query else path).decode("latin-1")


async def respond(log: AccessLog, scope: Scope, taken: Awaitable[HttpAnswer]) -> RawResponse:
    """Return the response to a message of a sender that is being taken. Never raises."""
    request_id = new_request_id()
    try:
        received = await taken
    except ReceiverError as error:
        return _refused(error, log, scope, request_id)
    # Below ASGI, nothing else would turn an error into a response.
    except Exception:
        LOGGER.exception("a message could not be taken", extra={"request_id": request_id})
        return _refused(Internal(), log, scope, request_id)
    fields = [
        (b"content-type", received.content_type.encode()),
        (b"content-length", b"%d" % len(received.body)),
        (b"x-request-id", request_id.encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    return received.status, fields, received.body


async def serve(
    callbacks: CallbackReceiver, log: AccessLog, scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve one callback as plain ASGI, where the body may arrive in parts."""
    try:
        if scope["method"] != "POST":
            raise MethodNotAllowed(headers=(("allow", "POST"),))
        body = await read_body(scope, receive, CALLBACK_LIMIT)
    except ReceiverError as error:
        answered = _refused(error, log, scope, new_request_id())
    else:
        answered = await answer(callbacks, log, scope, body)
    await send_raw(answered, send)


async def send_raw(answered: RawResponse, send: Send) -> None:
    """Send a response by ASGI."""
    status, fields, body = answered
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def headers_of(scope: Scope) -> list[tuple[str, str]]:
    """Return the headers of a message as texts."""
    # Whitespace around a value is not part of it (RFC 9110, 5.5).
    return [
        (name.decode("latin-1"), value.decode("latin-1").strip(" \t")) for name, value in scope["headers"]
    ]


def _refused(error: ReceiverError, log: AccessLog, scope: Scope, request_id: str) -> RawResponse:
    """Return the raw response of an error, and log it."""
    log(scope, error.http_status, request_id)
    response = problem(error, request_id)
    return (
        response.status_code,
        [*response.raw_headers, (b"x-request-id", request_id.encode())],
        bytes(response.body),
    )
