"""Calls about keys, providers and signing keys."""

from typing import Any

import pytest

from ringback.calls import administration
from ringback.reading import Unreadable

KEY = {"id": "key_1", "name": "n", "scopes": ["admin"], "created_at": "2026-11-21T10:00:00.000Z"}


def test_a_new_key_is_shown_to_the_caller_and_in_no_repr() -> None:
    call = administration.key_create("n", ("jobs:read",))
    assert call.body == b'{"name": "n", "scopes": ["jobs:read"]}'
    made = call.reads(KEY | {"expires_at": None, "key": "rb_shown_once"})
    assert (made.key, made.expires_at) == ("rb_shown_once", None)
    assert "rb_shown_once" not in repr(made)


def test_the_signing_keys_are_those_of_the_key_set() -> None:
    one = {"kid": "k", "public_key": "whpk_x", "new": 1}
    assert [key.public_key for key in administration.signing_keys().reads({"keys": [one]})] == ["whpk_x"]


@pytest.mark.parametrize("given", [None, [], {}, {"keys": {}}, {"keys": [{}]}])
def test_anything_else_is_no_key_set(given: Any) -> None:
    with pytest.raises(Unreadable):
        administration.signing_keys().reads(given)
