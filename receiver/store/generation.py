"""The generation: a random value that changes with every endpoint, API key and blocked account.

A recording transaction that remembers an older one reads the endpoints again, and other replicas take up
the rest.
"""

import secrets

from receiver.store.statements import Step, Transaction, query


def bump() -> Transaction[None]:
    """Tell everybody that the endpoints, keys and accounts that they know are old.

    A nonce, not a count: what a transaction read and then rolled back must not pass for a later state. In
    order with the events, and first of all: whatever is recorded after the change was committed has seen it,
    and the change sees whatever was recorded before.
    """
    yield Step.IN_ORDER
    yield query("update meta set value = :nonce where key = 'generation'", nonce=secrets.token_hex(8))


def generation() -> Transaction[str]:
    """The present generation of endpoints and keys."""
    found = yield query("select value from meta where key = 'generation'")
    return str(found[0]["value"])
