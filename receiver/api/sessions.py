"""Sessions of browsers: an API key is exchanged for a cookie, and gives it its scopes."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from starlette.responses import Response

from receiver.api.api_keys import Caller
from receiver.api.browser_sessions import (
    COOKIE,
    LIFE,
    SECURE_COOKIE,
    BrowserSessions,
    check_origin,
    cookie_of,
    cookies_of,
)
from receiver.api.guard import NO_STORE, RequestContext, answer
from receiver.api.requests import RequestModel, Scope
from receiver.api.responses import Moment, ResponseModel
from receiver.domain.errors import NotFound, Unauthorized
from receiver.domain.rendering import stamp


class SessionRequest(RequestModel):
    """An API key to sign in with."""

    key: str = Field(min_length=1, max_length=200, description="an API key")


class SessionResponse(ResponseModel):
    """The session of a browser: its key and scopes, and the moment at which it ends."""

    object: Literal["session"]
    key: str
    scopes: list[Scope]
    expires_at: Moment


def _served(context: RequestContext) -> BrowserSessions:
    if not context.services.settings.dashboard:
        raise NotFound("the dashboard is off: the setting is `dashboard`")
    return context.services.sessions


async def create(context: RequestContext) -> Response:
    """Create a session out of an API key."""
    served = _served(context)
    check_origin(context.request, named=False)
    caller, value, session = await served.begin(context.body.key)
    response = answer(_json(caller, session.expires_at), 201, NO_STORE)
    # The browser's own word for the scheme: a proxy in front of us may have ended TLS.
    origin, scheme = context.request.headers.get("origin", ""), context.request.url.scheme
    secure = origin.startswith("https://") or scheme == "https"
    _set(response, SECURE_COOKIE if secure else COOKIE, value, int(LIFE.total_seconds()))
    return response


async def show(context: RequestContext) -> Response:
    """Show the session of the browser, with 204 and nothing where there is none."""
    cookie, served = cookie_of(context.request), _served(context)
    try:
        # A page asks this before anybody has signed in: no error, which browsers report to their users.
        caller, session = await served.find(cookie or "")
    except Unauthorized:
        return Response(status_code=204, headers=NO_STORE)
    return answer(_json(caller, session.expires_at), headers=NO_STORE)


async def delete(context: RequestContext) -> Response:
    """Delete the session of the browser."""
    cookies, served = cookies_of(context.request), _served(context)
    if cookies:
        check_origin(context.request)
    for cookie in cookies:
        await served.end(cookie)
    response = Response(status_code=204, headers=NO_STORE)
    for name in (COOKIE, SECURE_COOKIE):
        _set(response, name, "", 0)
    return response


def _json(caller: Caller, expires_at: datetime) -> dict[str, Any]:
    return {
        "object": "session",
        "key": caller.id,
        "scopes": sorted(caller.scopes),
        "expires_at": stamp(expires_at),
    }


def _set(response: Response, name: str, value: str, seconds: int) -> None:
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path="/",
        secure=name == SECURE_COOKIE,
        httponly=True,
        samesite="strict",
    )
