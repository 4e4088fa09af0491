"""The callback route as plain ASGI: the hot path, without a framework's hands on it."""

import logging
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from receiver.api.guard import CALLBACK_LIMIT, new_request_id, problem, read_body
from receiver.callbacks import Callbacks
from receiver.errors import MethodNotAllowed, ReceiverError, StoreUnavailable

LOGGER = logging.getLogger("ringback.callbacks")
PREFIX = "/callbacks/"


Log = Callable[[Scope, int, str], None]


async def serve(callbacks: Callbacks, log: Log, scope: Scope, receive: Receive, send: Send) -> None:
    """Take one callback; `log` hears of those that are not taken."""
    request_id = new_request_id()
    try:
        if scope["method"] != "POST":
            raise MethodNotAllowed(headers=(("allow", "POST"),))
        account, _, token = scope["path"].removeprefix(PREFIX).partition("/")
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        body = await read_body(scope, receive, CALLBACK_LIMIT)
        told = await callbacks.take(account, token, headers, body)
        status, body, kind = told.status, told.body, told.content_type
    except ReceiverError as error:
        log(scope, error.http_status, request_id)
        await _answer(problem(error, request_id), request_id, scope, receive, send)
        return
    except Exception:
        LOGGER.exception("a callback could not be taken (%s)", request_id)
        refused = problem(StoreUnavailable(), request_id)
        await _answer(refused, request_id, scope, receive, send)
        return
    fields = [
        (b"content-type", kind.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def _answer(response: Response, request_id: str, scope: Scope, receive: Receive, send: Send) -> None:
    response.headers["x-request-id"] = request_id
    await response(scope, receive, send)
