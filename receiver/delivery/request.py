"""The request of a delivery: its target, its signature, its headers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from handlers.values import immutable
from receiver.domain.formats import Rendered, render
from receiver.domain.model import (
    ASYMMETRIC,
    STANDARD,
    SYMMETRIC,
    Endpoint,
    EndpointState,
    Event,
    PendingDelivery,
)
from receiver.domain.rendering import with_result
from receiver.egress.client import HttpCall
from receiver.security import signing
from receiver.security.tokens import BadToken, MasterKeys
from receiver.tracing import TracePlace


@immutable(kw_only=True)
class DeliveryTarget:
    """The target of a delivery; `endpoint` is as it is now, None for a job's own callback URL.

    `keys` sign by HMAC, `signing_keys` by Ed25519.
    """

    endpoint: Endpoint | None
    url: str
    keys: Sequence[bytes] = field(repr=False)
    signing_keys: Sequence[Ed25519PrivateKey] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(repr=False)
    include: Sequence[str]


def endpoint_target(
    endpoint: Endpoint, keys: Sequence[bytes], signing_keys: Sequence[Ed25519PrivateKey] = ()
) -> DeliveryTarget | None:
    """Return the target of a delivery to an endpoint, None without a key to sign with.

    The endpoint chooses which of the keys sign.
    """
    if not keys:
        return None
    return DeliveryTarget(
        endpoint=endpoint,
        url=endpoint.url,
        keys=keys if SYMMETRIC in endpoint.signatures else (),
        signing_keys=signing_keys if ASYMMETRIC in endpoint.signatures else (),
        headers=endpoint.headers,
        include=endpoint.include,
    )


def callback_target(delivery: PendingDelivery, master_keys: MasterKeys) -> DeliveryTarget | None:
    """Return the target of a delivery to a callback URL, None where its secret cannot be decrypted."""
    if delivery.url is None or delivery.secret is None or delivery.job_id is None:
        return None
    try:
        secret = master_keys.unseal(delivery.secret, delivery.job_id)
    except BadToken:
        return None
    keys = [signing.key_of(secret)]
    return DeliveryTarget(endpoint=None, url=delivery.url, keys=keys, headers={}, include=())


def request_of(
    target: DeliveryTarget,
    event: Event,
    timestamp: int,
    timeout: float,
    source: str,
    place: TracePlace | None = None,
) -> HttpCall:
    """Return the signed request for an event. `timestamp` is in seconds, `timeout` too.

    `source` is the URL of this deployment, which CloudEvents name. `place` is sent as `traceparent` unless
    the endpoint has a header of that name.
    """
    body = event.body
    if event.result is not None and "result" in target.include:
        body = with_result(body, event.result)
    endpoint = target.endpoint
    if endpoint is not None and endpoint.format != STANDARD:
        rendered = render(endpoint.format, endpoint.template, body, source)
    else:
        rendered = Rendered(body)
    body = rendered.body
    headers = [
        ("content-type", rendered.content_type),
        *rendered.headers,
        *signing.headers(event.id, timestamp, body, target.keys, target.signing_keys),
        *target.headers.items(),
    ]
    if place is not None and "traceparent" not in {name.lower() for name in target.headers}:
        headers.append(("traceparent", str(place)))
    return HttpCall(method="POST", url=target.url, headers=headers, body=body, timeout=timeout, delivery=True)


def is_current(sent: Endpoint, now: Endpoint | None) -> bool:
    """Return whether an endpoint is still the one to which something was sent.

    One that is paused or disabled since counts, if its URL is the same.
    """
    # An old URL says nothing of a new one. Why: receiver/README.md#an-answer-counts-for-its-endpoint
    if now is None or now.url != sent.url:
        return False
    return now.updated_at == sent.updated_at or now.state is not EndpointState.ACTIVE
