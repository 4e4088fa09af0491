"""Job tokens: issued for a job that exists, read until they end, under every master key."""

from datetime import timedelta

import pytest

from receiver.domain.errors import NotFound
from receiver.jobs.tokens import JobTokens
from receiver.security.tokens import BadToken, MasterKeys
from tests.receiver.store_fixture import StoreFixture

OLD, NEW = "old-master-key-0123456789-0123456789", "new-master-key-0123456789-0123456789"


def tokens_of(fixture: StoreFixture, *masters: str) -> JobTokens:
    """Return the job tokens of a deployment with these master keys."""
    clock = fixture.clock.clock()
    return JobTokens(fixture.store, MasterKeys(masters, clock.entropy), clock)


async def test_a_token_reads_its_job_until_its_end(fixture: StoreFixture) -> None:
    tokens, job = tokens_of(fixture, OLD), await fixture.added()
    fixture.clock.pass_(microseconds=999_000)
    token, ends = await tokens.issue(job.id, 900)
    assert token.startswith("rbj_")
    assert ends == fixture.clock.at.replace(microsecond=0) + timedelta(seconds=900)
    assert tokens.job_of(token) == job.id
    fixture.clock.at = ends - timedelta(milliseconds=1)
    assert tokens.job_of(token) == job.id
    fixture.clock.at = ends
    with pytest.raises(BadToken):
        tokens.job_of(token)


async def test_a_token_survives_the_rotation_of_the_master_keys(fixture: StoreFixture) -> None:
    job = await fixture.added()
    token, _ = await tokens_of(fixture, OLD).issue(job.id, 900)
    assert tokens_of(fixture, NEW, OLD).job_of(token) == job.id
    with pytest.raises(BadToken):
        tokens_of(fixture, NEW).job_of(token)


async def test_a_token_for_an_unknown_job_is_not_issued(fixture: StoreFixture) -> None:
    with pytest.raises(NotFound):
        await tokens_of(fixture, OLD).issue(fixture.job().id, 900)
