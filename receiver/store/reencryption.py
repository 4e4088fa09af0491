"""Encrypting stored secrets anew, under the newest master key."""

from receiver.domain.errors import Misconfigured
from receiver.events.endpoint_cache import EndpointCache
from receiver.security.tokens import KID, BadToken, MasterKeys
from receiver.store import Store
from receiver.store import endpoints as table
from receiver.store.statements import Rows, Step, Transaction, update

BATCH = 500


async def reseal(store: Store, masters: MasterKeys) -> int:
    """Encrypt stored secrets under the newest key, where they are not. Returns how many rows. An interrupted
    run goes on where it stopped.

    Raises `Misconfigured` when one cannot be read.
    """
    count, place = await store.write(lambda: _endpoints(masters)), ""
    while True:
        found, place = await store.read(table.sealed_jobs(place, BATCH))
        old = [row for row in found if not _is_newest(masters, row["callback_secret"])]
        if old:
            await store.write(lambda some=old: _jobs(masters, some))  # type: ignore[misc]  # bound at once
        count += len(old)
        if not place:
            return count


def _is_newest(masters: MasterKeys, sealed: bytes) -> bool:
    return bytes(sealed[:KID]) == masters.newest.encode()


def _endpoints(masters: MasterKeys) -> Transaction[int]:
    yield Step.IN_ORDER
    endpoints = EndpointCache(masters)
    fresh = []
    for row in (yield from table.sealed_endpoints()):
        if _is_newest(masters, row["secrets"]) and (
            not row["headers"] or _is_newest(masters, row["headers"])
        ):
            continue
        try:
            headers, secrets = endpoints.unsealed(row)
        except BadToken:
            raise _unreadable(f"the endpoint {row['id']}") from None
        fresh.append((*endpoints.seal(row["id"], headers, secrets), row["id"]))
    yield update("endpoint", ("headers", "secrets"), fresh)
    yield from table.bump()
    return len(fresh)


def _jobs(masters: MasterKeys, found: Rows) -> Transaction[None]:
    try:
        fresh = [
            (masters.seal(masters.unseal(r["callback_secret"], r["id"]), r["id"]), r["id"]) for r in found
        ]
    except BadToken:
        raise _unreadable("a job's callback_secret") from None
    yield update("job", ("callback_secret",), fresh)


def _unreadable(whose: str) -> Misconfigured:
    return Misconfigured("secret_keys", f"the secret of {whose} needs a key that is not configured")
