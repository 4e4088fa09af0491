"""Re-encryption of stored secrets under the newest master key."""

from receiver.domain.errors import Misconfigured
from receiver.security.tokens import KID, BadToken, MasterKeys
from receiver.store import Store
from receiver.store.generation import bump
from receiver.store.sealing import EndpointSealer
from receiver.store.statements import Rows, Step, Transaction, query, update

BATCH = 500
"""Jobs that one read examines and one transaction changes, at most."""


async def reseal(store: Store, master_keys: MasterKeys) -> int:
    """Encrypt all stored secrets under the newest master key. Returns the number of rows that changed.

    An interrupted run continues where it stopped, because rows already under that key are skipped.
    Raises `Misconfigured` when a secret needs a master key that is not configured.
    """
    count, place = await store.write(lambda: _endpoints(master_keys)), ""
    while True:
        found, place = await store.read(sealed_jobs(place, BATCH))
        old = [row for row in found if not _is_newest(master_keys, row["callback_secret"])]
        if old:
            await store.write(lambda some=old: _jobs(master_keys, some))  # type: ignore[misc]  # bound now
        count += len(old)
        if not place:
            return count


def _is_newest(master_keys: MasterKeys, sealed: bytes) -> bool:
    return bytes(sealed[:KID]) == master_keys.newest.encode()


def _endpoints(master_keys: MasterKeys) -> Transaction[int]:
    # Before the read, so that no other transaction changes an endpoint between the read and the update.
    yield Step.IN_ORDER
    sealer = EndpointSealer(master_keys)
    fresh = []
    for row in (yield from sealed_endpoints()):
        if _is_newest(master_keys, row["secrets"]) and (
            not row["headers"] or _is_newest(master_keys, row["headers"])
        ):
            continue
        try:
            headers, secrets = sealer.unseal(row)
        except BadToken:
            raise _unreadable(f"the endpoint {row['id']}") from None
        fresh.append((*sealer.seal(row["id"], headers, secrets), row["id"]))
    yield update("endpoint", ("headers", "secrets"), fresh)
    yield from bump()
    return len(fresh)


def _jobs(master_keys: MasterKeys, found: Rows) -> Transaction[None]:
    try:
        fresh = [
            (master_keys.seal(master_keys.unseal(r["callback_secret"], r["id"]), r["id"]), r["id"])
            for r in found
        ]
    except BadToken:
        raise _unreadable("a job's callback_secret") from None
    yield update("job", ("callback_secret",), fresh)


def _unreadable(owner: str) -> Misconfigured:
    return Misconfigured("secret_keys", f"the secret of {owner} needs a key that is not configured")


def kids() -> Transaction[set[str]]:
    """Return the ids of the master keys that encrypt secrets of endpoints and open jobs."""
    # An encrypted value begins with its key id, so nothing has to be decrypted.
    of_endpoints = yield query(
        "select distinct substr(secrets, 1, :size) as kid from endpoint where deleted_at is null", size=KID
    )
    of_jobs = yield query(
        "select distinct substr(callback_secret, 1, :size) as kid from job "
        "where completed_at is null and callback_secret is not null",
        size=KID,
    )
    return {bytes(row["kid"]).decode("ascii", "replace") for row in (*of_endpoints, *of_jobs)}


def sealed_endpoints() -> Transaction[Rows]:
    """Return the sealed columns of endpoints."""
    return (yield query("select id, headers, secrets from endpoint where deleted_at is null order by id"))


def sealed_jobs(after: str, limit: int) -> Transaction[tuple[Rows, str]]:
    """Return the callback secrets of the `limit` jobs after `after`, and the id to continue from.

    The id is "" at the end.
    """
    found = yield query(
        "select id, callback_secret from job where id > :after order by id limit :limit",
        after=after,
        limit=limit,
    )
    place = found[-1]["id"] if len(found) == limit else ""
    return [row for row in found if row["callback_secret"] is not None], place
