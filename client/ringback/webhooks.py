"""Verification of deliveries, by Standard Webhooks.

Everything that a stranger can send ends in `VerificationError`: no other exception, and no work that grows
beyond the size of the body.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from ringback.errors import ConfigurationError, VerificationError
from ringback.events import Event, read_event
from ringback.reading import Unreadable
from ringback.signatures import decoded, verifier
from ringback.strict_json import read_object

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
NAMES = frozenset({ID, TIMESTAMP, SIGNATURE})
ID_FORM = re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII)
"""The form of an event's id. Without a dot in it, the signed text has one reading only."""
TIMESTAMP_FORM = re.compile(r"[0-9]{1,12}", re.ASCII)
MOST_SIGNATURES = 16
"""Signatures of a delivery: one for each secret of a rotation, in each scheme."""
LONGEST_HEADER = 4096
TOLERANCE = 300.0
"""Seconds by which the time of a delivery and the clock may differ, in both directions."""
Headers: TypeAlias = Mapping[Any, Any] | Iterable[tuple[Any, Any]]
"""Headers of any framework: their form is checked, and names are compared regardless of case."""


class Webhook:
    """The verification of one endpoint's deliveries.

    Takes the endpoint's secret (`whsec_...`), several ones during a rotation, or public keys (`whpk_...`) for
    `v1a`. A delivery needs one signature that fits one of the keys. `now` is the clock (Unix time).
    """

    def __init__(
        self, *keys: str, tolerance: float = TOLERANCE, now: Callable[[], float] = time.time
    ) -> None:
        if not keys:
            raise ConfigurationError("give the endpoint's secret")
        self._verifiers = [verifier(key) for key in keys]
        self._tolerance, self._now = tolerance, now

    def __repr__(self) -> str:
        """Return the number of keys, without the keys."""
        return f"{type(self).__name__}({len(self._verifiers)} keys)"

    def verify(self, raw_body: bytes, headers: Headers) -> None:
        """Verify the body of a request as it came. Raises `VerificationError`."""
        self._verified(raw_body, headers)

    def parse(self, raw_body: bytes, headers: Headers) -> Event:
        """Verify a request. Returns its event. Raises `VerificationError`."""
        event_id = self._verified(raw_body, headers)
        event = stored_event(raw_body)
        if event.id != event_id:
            raise VerificationError(f"{ID} and the id in the body differ")
        return event

    def _verified(self, raw_body: object, headers: object) -> str:
        """Return the id of a verified request. Raises `VerificationError`."""
        if not isinstance(raw_body, bytes | bytearray):
            raise VerificationError(
                "the body must be the raw bytes of the request, before anything read them"
            )
        given = _ours(headers)
        event_id, timestamp = _fitting(given, ID, ID_FORM), _fitting(given, TIMESTAMP, TIMESTAMP_FORM)
        if not abs(self._now() - int(timestamp)) <= self._tolerance:
            raise VerificationError(f"{TIMESTAMP} is too far from the clock of this machine")
        signatures = given[SIGNATURE].split(" ")
        if len(signatures) > MOST_SIGNATURES:
            raise VerificationError(f"{SIGNATURE} has more than {MOST_SIGNATURES} signatures")
        message = b"%b.%b.%b" % (event_id.encode(), timestamp.encode(), bytes(raw_body))
        if not self._signed(signatures, message):
            raise VerificationError(f"no signature in {SIGNATURE} fits a key and this body")
        return event_id

    def _signed(self, signatures: list[str], message: bytes) -> bool:
        # The keys choose the scheme. A signature in another one counts for nothing.
        checks = [(scheme, prepare(message)) for scheme, prepare in self._verifiers]
        for signature in signatures:
            scheme, _, text = signature.partition(",")
            raw = decoded(text)
            if raw and any(fits(raw) for known, fits in checks if known == scheme):
                return True
        return False


def stored_event(body: bytes) -> Event:
    """Return the event of a body that was verified when it came, and stored.

    Raises `VerificationError` for a body that is no event. No signature is looked at.
    """
    try:
        return read_event(read_object(bytes(body)))
    except (Unreadable, ValueError) as error:
        raise VerificationError(f"the body is no event: {error}") from None


def _fitting(given: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    if not form.fullmatch(given[name]):
        raise VerificationError(f"{name} is malformed")
    return given[name]


def _ours(headers: object) -> Mapping[str, str]:
    """Return the three headers, each of which must be there once. Raises `VerificationError`."""
    found: dict[str, str] = {}
    for name, value in _pairs(headers):
        known = _known(name)
        if known is None:
            continue
        if known in found:
            raise VerificationError(f"{known} came twice")
        found[known] = _value(known, value)
    for name in (ID, TIMESTAMP, SIGNATURE):
        if name not in found:
            raise VerificationError(f"{name} is missing")
    return found


def _pairs(headers: Any) -> list[tuple[Any, Any]]:
    """Return the headers of any framework: a mapping, or pairs as in ASGI. Raises `VerificationError`."""
    items = getattr(headers, "multi_items", None) or getattr(headers, "items", None)
    try:
        return [(name, value) for name, value in (items() if callable(items) else headers)]
    except (TypeError, ValueError):
        raise VerificationError("the headers must be a mapping") from None


def _known(name: object) -> str | None:
    """Return our name of a header, None for any other. WSGI writes `HTTP_WEBHOOK_ID`."""
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    if not isinstance(text, str) or len(text) > len("http_") + len(SIGNATURE):
        return None
    plain = text.lower()
    if plain.startswith("http_"):
        plain = plain.removeprefix("http_").replace("_", "-")
    return plain if plain in NAMES else None


def _value(name: str, value: object) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise VerificationError(f"{name} must be one text")
    if len(text) > LONGEST_HEADER:
        raise VerificationError(f"{name} is too long")
    return text
