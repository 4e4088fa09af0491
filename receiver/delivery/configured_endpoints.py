"""The endpoints of the settings file, synchronised with the store at start."""

import functools
from collections.abc import Callable, Sequence

from receiver.config.settings import EndpointSettings
from receiver.domain.clock import Clock
from receiver.domain.errors import Misconfigured
from receiver.domain.filter_reader import checked_filter
from receiver.domain.model import Endpoint, EndpointState
from receiver.egress.address_guard import BadUrl
from receiver.security.signing import new_secret
from receiver.store import Store
from receiver.store import endpoints as table
from receiver.store.sealing import UNREADABLE, EndpointSealer


async def sync(
    configured: Sequence[EndpointSettings],
    sealer: EndpointSealer,
    check_url: Callable[[str], None],
    store: Store,
    clock: Clock,
) -> None:
    """Bring the stored endpoints of the settings file in line with it; states and made secrets stay.

    Raises `Misconfigured` for a URL that may not be called, and for the id of an endpoint made over the API.
    """
    stored = {row["id"]: sealer.open(row) for row in await store.read(table.listed())}
    now = clock.now()
    for wanted in configured:
        try:
            check_url(wanted.url)
        except BadUrl as error:
            raise Misconfigured(f"endpoints.{wanted.id}.url", str(error)) from None
        known = stored.pop(wanted.id, None)
        if known is not None and not known.from_file:
            raise Misconfigured("endpoints.id", f"{wanted.id} is the id of an endpoint made over the API")
        if known is not None and not known.secrets and wanted.secret is None:
            raise Misconfigured(
                f"endpoints.{wanted.id}.secret", f"must be set, because {UNREADABLE}: the stored one is lost"
            )
        endpoint = _of_file(wanted, known, clock)
        # A write changes the generation, so that every replica reloads: unchanged endpoints are not written.
        if endpoint != known:
            row = sealer.row(endpoint)
            moved = known is not None and known.url != endpoint.url
            await store.write(functools.partial(table.rewrite, row, moved=moved))
    for gone in stored.values():
        if gone.from_file:
            await store.write(functools.partial(table.remove, gone.id, now))


def _of_file(wanted: EndpointSettings, known: Endpoint | None, clock: Clock) -> Endpoint:
    now = clock.now()
    made = known.secrets if known and known.secrets else (new_secret(clock.entropy(32)),)
    return Endpoint(
        id=wanted.id,
        url=wanted.url,
        events=wanted.events,
        created_at=known.created_at if known else now,
        updated_at=known.updated_at if known else now,
        state=known.state if known else EndpointState.ACTIVE,
        disabled_reason=known.disabled_reason if known else None,
        description=wanted.description,
        headers={name: value.get_secret_value() for name, value in wanted.headers.items()},
        include=wanted.include,
        max_in_flight=wanted.max_in_flight,
        secrets=(wanted.secret.get_secret_value(),) if wanted.secret else made,
        from_file=True,
        filter=checked_filter(wanted.filter, wanted.events) if wanted.filter is not None else None,
        signatures=wanted.signatures,
        retry_schedule=wanted.retry_schedule,
        timeout=wanted.timeout,
        rate_limit=wanted.rate_limit,
        format=wanted.format,
        template=wanted.template,
    )
