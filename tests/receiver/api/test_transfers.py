"""Transfers: how a response that may last long reaches its connection."""

from typing import Any

import pytest

from receiver.api.transfers import NotWhole, offer_transfer, transfer_of


def test_a_request_has_one_transfer() -> None:
    cuts: list[int] = []
    scope: dict[str, Any] = {}
    offer_transfer(scope, lambda: cuts.append(1))
    assert not transfer_of(scope).under_way
    transfer_of(scope).under_way = True
    assert transfer_of(scope).under_way
    transfer_of(scope).cut()
    assert cuts == [1]


@pytest.mark.parametrize("scope", [{}, {"extensions": None}, {"extensions": {"tls": {}}}])
def test_without_a_server_that_can_cut_an_error_ends_the_response(scope: dict[str, Any]) -> None:
    with pytest.raises(NotWhole):
        transfer_of(scope).cut()
