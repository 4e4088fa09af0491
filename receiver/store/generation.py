"""The generation: a random value that changes with every endpoint, API key and blocked account.

A recording transaction that remembers an older one reads the endpoints again, and other replicas reload
endpoints, keys and blocked accounts.
"""

import secrets

from receiver.store.statements import Step, Transaction, query


def bump() -> Transaction[None]:
    """Invalidate the endpoints, keys and blocked accounts that every process has cached.

    The order lock comes first, before the change reads or writes anything: a report that is recorded after
    the commit of the change sees it, and the change sees every report that was recorded before.
    """
    yield Step.IN_ORDER
    # A rolled-back counter could pass for a later state. Why: receiver/README.md#the-generation-is-random
    yield query("update meta set value = :nonce where key = 'generation'", nonce=secrets.token_hex(8))


def generation() -> Transaction[str]:
    """Return the current generation of endpoints, keys and blocked accounts."""
    found = yield query("select value from meta where key = 'generation'")
    return str(found[0]["value"])
