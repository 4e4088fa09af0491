"""Holds in a real store: the longer of two, ended by hand or by their time, named without secrets."""

import re
from datetime import datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.store import holds
from tests.receiver.store_fixture import START, StoreFixture

URL = "https://me.example/hooks?token=secret"


def after(seconds: float) -> datetime:
    """Return the time so many seconds after the start."""
    return START + timedelta(seconds=seconds)


async def test_a_later_hold_never_shortens_an_earlier_one(fixture: StoreFixture) -> None:
    for lanes in (
        [("shorter", after(60)), ("longer", after(60)), ("twice", after(60)), ("twice", after(30))],
        [("shorter", after(30)), ("longer", after(90)), ("new", after(10))],
        [],
    ):
        await fixture.store.write(partial(holds.hold, lanes))
    assert await fixture.store.read(holds.held(START, 10)) == {
        "shorter": after(60),
        "longer": after(90),
        "twice": after(60),
        "new": after(10),
    }


async def test_a_hold_ends_at_its_time(fixture: StoreFixture) -> None:
    await fixture.store.write(partial(holds.hold, [("ep_1", after(10)), ("ep_2", after(20))]))
    assert set(await fixture.store.read(holds.held(after(9.999), 10))) == {"ep_1", "ep_2"}
    assert set(await fixture.store.read(holds.held(after(10), 10))) == {"ep_2"}
    await fixture.store.write(partial(holds.forget, after(9.999)))
    assert await fixture.column("select lane from hold order by lane") == ["ep_1", "ep_2"]
    await fixture.store.write(partial(holds.forget, after(10)))
    assert await fixture.column("select lane from hold") == ["ep_2"]


async def test_of_too_many_holds_the_longest_are_read(fixture: StoreFixture) -> None:
    lanes = [(f"ep_{number}", after(number)) for number in (3, 1, 4, 2)]
    await fixture.store.write(partial(holds.hold, lanes))
    assert list(await fixture.store.read(holds.held(START, 2))) == ["ep_4", "ep_3"]


async def test_one_hold_is_ended_and_no_other(fixture: StoreFixture) -> None:
    await fixture.store.write(partial(holds.hold, [("ep_1", after(10)), ("ep_12", after(10))]))
    for lane in ("ep_1", "ep_unknown"):
        await fixture.store.write(partial(holds.let_go, lane))
    assert await fixture.store.read(holds.held(START, 10)) == {"ep_12": after(10)}


@pytest.mark.parametrize("lane", ["ep_1", "ep_1~", "ep_1~now", "ep_1~hand", "ep_1~again"])
def test_every_lane_of_an_endpoint_shares_one_hold(lane: str) -> None:
    assert holds.hold_of(lane, None) == "ep_1"


def test_a_callback_url_has_a_hold_of_its_own_and_not_its_whole_host() -> None:
    host = "https://me.example"
    mine = holds.hold_of(host, URL)
    assert holds.hold_of(f"{host}~now", URL) == mine
    assert holds.hold_of(host, None) == host
    assert len({mine, holds.hold_of(host, f"{URL}2"), host}) == 3


@given(st.text())
def test_the_name_of_a_hold_shows_nothing_of_a_url_but_a_digest(url: str) -> None:
    assert re.fullmatch(r"https://me\.example#[0-9a-f]{16}", holds.hold_of("https://me.example", url))
