"""Inputs of submissions: large ones are sent whole, and one that cannot be read is not sent."""

import json
from dataclasses import replace

from handlers.contract import Account, Exchange, HttpRequest, Phase, Submission
from handlers.json import VALUES
from receiver.domain.model import State, Work
from receiver.store.inputs import IN_ROW
from receiver.store.jobs import ClaimedSubmission
from tests.receiver.job_steps import dues
from tests.receiver.providers.test_submission import TASK, submitter
from tests.receiver.scripted_provider import ScriptedProvider, change_handler, counts, notes
from tests.receiver.store_fixture import StoreFixture, told, word

LARGE = json.dumps({"prompt": "a tide", "image": "i" * IN_ROW, "n": 1}).encode()


async def large(fixture: StoreFixture, account: str = "aiml") -> ClaimedSubmission:
    """Return a claimed job with an input that is stored in pieces."""
    await fixture.promise(fixture.job(account), whole_input=LARGE)
    [chosen] = await fixture.claim(Work.SUBMIT, {account: 1})
    assert isinstance(chosen, ClaimedSubmission)
    assert chosen.input is None
    return chosen


async def test_an_input_in_pieces_is_sent_whole(fixture: StoreFixture, provider: ScriptedProvider) -> None:
    provider.answer(TASK)
    chosen = await large(fixture)
    await submitter(fixture).perform(chosen)
    assert (await fixture.now(chosen.job)).state is State.QUEUED
    assert provider.body() == json.loads(LARGE)


async def test_an_input_is_sent_however_many_values_it_has(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    whole = {"n": [0] * (VALUES + 1)}
    provider.answer(TASK)
    await fixture.promise(fixture.job("aiml"), whole_input=json.dumps(whole).encode())
    [chosen] = await fixture.claim(Work.SUBMIT, {"aiml": 1})
    await submitter(fixture).perform(chosen)
    assert provider.body() == whole


async def test_a_request_that_changes_a_long_text_is_built_again_from_the_whole_input(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    submit = fixture.services.core.accounts.setups["aiml"].handler.submit

    def build(job: Submission, account: Account) -> HttpRequest:
        return submit.build(replace(job, input={"image": f"data:{job.input['image']}"}), account)

    change_handler(fixture, "aiml", submit=Exchange(build, submit.parse))
    provider.answer(TASK)
    await fixture.promise(fixture.job("aiml"), whole_input=LARGE)
    [chosen] = await fixture.claim(Work.SUBMIT, {"aiml": 1})
    await submitter(fixture).perform(chosen)
    assert provider.body() == {"image": "data:" + json.loads(LARGE)["image"]}


async def test_an_input_that_a_callback_made_needless_is_not_sent(
    fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    chosen = await large(fixture, "apiframe")
    await fixture.hear(word(chosen.job, fixture, told(Phase.RUNNING, "p1")))
    assert await fixture.column("select number from input_piece") == []
    await submitter(fixture).perform(chosen)
    assert (await fixture.now(chosen.job)).state is State.RUNNING
    assert provider.calls == []
    assert await counts(fixture, "apiframe") == {}


async def test_an_input_that_cannot_be_read_now_is_sent_later(
    on_sqlite: None, fixture: StoreFixture, provider: ScriptedProvider
) -> None:
    chosen = await large(fixture)
    await fixture.write("alter table input_piece rename to away")
    await submitter(fixture).perform(chosen)
    job = await fixture.now(chosen.job)
    assert job.state is State.PENDING
    assert await notes(fixture, job) == ["not sent: the database cannot be read now"]
    assert await dues(fixture, job) == [("submit", 2.0)]
    assert provider.calls == []
