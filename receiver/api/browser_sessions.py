"""Sessions of browsers: begun, found and ended; and the check that a request is of our own page."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from starlette.requests import Request

from receiver.api.api_keys import ApiKeyStore, Caller
from receiver.domain.clock import Clock
from receiver.domain.errors import Forbidden, Unauthorized
from receiver.security.tokens import BadToken, MasterKeys, hash_api_key
from receiver.store import Store, sessions
from receiver.store.sessions import BrowserSession

LIFE = timedelta(hours=12)
"""The time after which a session ends."""
COOKIE, SECURE_COOKIE = "ringback", "__Host-ringback"
"""The cookie of a session: behind https it is bound to the host and to TLS."""
SAFE = frozenset({"GET", "HEAD"})
OURS = frozenset({"same-origin", "none"})
"""The values of `Sec-Fetch-Site` of requests that this origin's own pages or the user cause."""
FOREIGN = "this page is not the dashboard's own: a session acts for pages of the same origin alone"


@dataclass(slots=True)
class BrowserSessions:
    """The sessions of browsers. A session ends after `LIFE`, by sign-out, and with its key."""

    store: Store
    api_keys: ApiKeyStore
    master_keys: MasterKeys
    clock: Clock

    async def begin(self, key: str) -> tuple[Caller, str, BrowserSession]:
        """Return the caller of a key, the value of its cookie, and the session. Raises `Unauthorized`."""
        hashed = hash_api_key(key)
        caller = await self.api_keys.find(hashed)
        if caller is None:
            raise Unauthorized("this is no API key of this deployment, or it was revoked")
        secret, now = self.clock.entropy(32).hex(), self.clock.now()
        session = BrowserSession(id=_id(secret), key_hash=hashed, created_at=now, expires_at=now + LIFE)
        await self.store.write(lambda: sessions.add(session))
        return caller, self.master_keys.session_token(secret), session

    async def find(self, cookie: str) -> tuple[Caller, BrowserSession]:
        """Return the caller of a cookie, and the session. Raises `Unauthorized`."""
        session = await self._stored(cookie)
        caller = await self.api_keys.find(session.key_hash) if session is not None else None
        if session is None or caller is None or session.expires_at <= self.clock.now():
            raise Unauthorized("this session is over; sign in again")
        return caller, session

    async def end(self, cookie: str) -> None:
        """End a session. One that is over or forged stays so."""
        session = await self._stored(cookie)
        if session is not None:
            await self.store.write(lambda: sessions.end(session.id))

    async def _stored(self, cookie: str) -> BrowserSession | None:
        try:
            secret = self.master_keys.read_session(cookie)
        except BadToken:
            return None
        return await self.store.read(sessions.get(_id(secret)))


def _id(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def cookie_of(request: Request) -> str | None:
    """Return the session cookie of a request, None without one."""
    return next(iter(cookies_of(request)), None)


def cookies_of(request: Request) -> list[str]:
    """Return the session cookies of a request, that of https first: a browser may have one of each."""
    found = (request.cookies.get(name) for name in (SECURE_COOKIE, COOKIE))
    return [one for one in found if one]


def check_origin(request: Request, *, named: bool = True) -> None:
    """Raise `Forbidden` for a request that another origin may have caused.

    A browser says so in `Sec-Fetch-Site`. Without it a request that changes something needs an `Origin` that
    is the host of the request, unless it need not be `named`, because no session acts.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        ours = site in OURS
    elif origin is not None:
        ours = _host(origin) == request.headers.get("host")
    else:
        ours = request.method in SAFE or not named
    if not ours or (origin is not None and _host(origin) != request.headers.get("host")):
        raise Forbidden(FOREIGN)


def _host(origin: str) -> str:
    """Return the host of an origin, empty where it is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
