"""The start of a service: the stored secrets that it must be able to read."""

from pathlib import Path

import pytest

from handlers.contract import Phase
from receiver.domain.errors import Misconfigured
from tests.receiver.store_fixture import store_fixture, told, word


async def test_a_start_asks_for_the_keys_of_what_is_open_only(tmp_path: Path) -> None:
    foreign = b"0badc0de" + b"x" * 40
    async with store_fixture(tmp_path) as fixture:
        job = await fixture.submitted(callback_url="https://me.example/", callback_secret=foreign)
        await fixture.hear(word(job, fixture, told(Phase.FAILED)))
    async with store_fixture(tmp_path) as fixture:
        fixture.clock.pass_(days=1)
        await fixture.submitted(callback_url="https://me.example/", callback_secret=foreign)
    with pytest.raises(Misconfigured, match="0badc0de"):
        async with store_fixture(tmp_path):
            pass
