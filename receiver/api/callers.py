"""The caller of a request, by its API key, its job token or the session of its browser."""

from starlette.requests import Request

from receiver.api.api_keys import Caller
from receiver.api.browser_sessions import check_origin, cookie_of
from receiver.api.services import Services
from receiver.domain.errors import Forbidden, Unauthorized
from receiver.security.tokens import JOB_TOKEN_PREFIX, BadToken, hash_api_key

READS = frozenset({"jobs:read"})
"""The scope of a job token, for its own job."""


async def identify(services: Services, request: Request, scope: str, *, by_token: bool = False) -> Caller:
    """Return the caller of a request.

    With `by_token`, a job token is taken as well, from the `Authorization` header or the parameter `token`;
    everywhere else it is refused. A session counts for requests
    of the same origin. Raises `Unauthorized` without a valid API key or token, `Forbidden` where
    the key lacks the scope or the token is of another job.
    """
    key = _given(request, by_token=by_token)
    if not key and (cookie := _cookie(services, request)) is not None:
        check_origin(request)
        caller, _ = await services.sessions.find(cookie)
        return _allowed(caller, scope)
    if key.startswith(JOB_TOKEN_PREFIX):
        caller = _by_token(services, key)
        allowed = by_token and caller.job_id == request.path_params.get("id")
        detail = f"this token reads {caller.job_id} and its stream, nothing else"
    else:
        return _allowed(await _by_key(services, key), scope)
    if not allowed:
        raise Forbidden(detail)
    return caller


def _allowed(caller: Caller, scope: str) -> Caller:
    if not caller.may(scope):
        raise Forbidden(f"this call needs a key with the scope {scope}")
    return caller


def _cookie(services: Services, request: Request) -> str | None:
    """Return the session cookie of a request without credentials of another kind."""
    if not services.settings.dashboard or "authorization" in request.headers:
        return None
    return cookie_of(request)


def _given(request: Request, *, by_token: bool) -> str:
    # Two headers would be ambiguous, so they count as none.
    headers = request.headers.getlist("authorization")
    if not headers and by_token:
        # An API key never stands in a URL, which logs and histories keep.
        token = request.query_params.get("token", "")
        return token if token.startswith(JOB_TOKEN_PREFIX) else ""
    scheme, _, key = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    return key.strip() if scheme.lower() == "bearer" else ""


async def _by_key(services: Services, key: str) -> Caller:
    caller = await services.api_keys.find(hash_api_key(key)) if key else None
    if caller is None:
        raise Unauthorized(headers=(("www-authenticate", "Bearer"),))
    return caller


def _by_token(services: Services, token: str) -> Caller:
    try:
        job_id = services.job_tokens.job_of(token)
    except BadToken:
        said = "this job token is over, or none of ours; make a new one with POST /v1/jobs/{id}/token"
        raise Unauthorized(said, headers=(("www-authenticate", "Bearer"),)) from None
    return Caller(job_id, READS, job_id)
