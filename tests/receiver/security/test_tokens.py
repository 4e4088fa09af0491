"""Keys and tokens: one spelling for each, nothing for another purpose, and rotation without a break."""

import os
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.security.ids import IdGenerator
from receiver.security.tokens import (
    AssetToken,
    BadToken,
    CallbackToken,
    JobToken,
    MasterKeys,
    hash_api_key,
    kid_of,
    new_api_key,
)
from tests.receiver.raw_server import BOUNDED

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
OLD, NEW, FOREIGN = "old-" + "o" * 32, "new-" + "n" * 32, "foreign-" + "f" * 32
JOB = "job_" + "0" * 31 + "1"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
SECRET = "whsec_canary"
Spoil = Callable[[str], str]


def master_keys(*keys: str) -> MasterKeys:
    """Return these master keys, newest first."""
    return MasterKeys(keys or (NEW,), os.urandom)


def spoiled(place: int, text: str) -> Spoil:
    """Return a function that replaces one part of a token."""

    def spoil(token: str) -> str:
        parts = token.split(".")
        parts[place] = text
        return ".".join(parts)

    return spoil


def other_last_characters(token: str) -> list[str]:
    """Return the token with every other last character: several base64 texts may decode to the same bytes."""
    return [token[:-1] + last for last in ALPHABET if last != token[-1]]


SPOILS: dict[str, Spoil] = {
    "empty": lambda _token: "",
    "only dots": lambda token: "." * token.count("."),
    "truncated": lambda token: token[:-1],
    "longer": lambda token: token + "A",
    "padded": lambda token: token + "=",
    "with a blank": lambda token: token + " ",
    "with a line feed": lambda token: token + "\n",
    "in capitals": str.upper,
    "without a signature": spoiled(-1, ""),
    "without a kid": spoiled(0, ""),
    "another kid": spoiled(0, "00000000"),
    "a foreign kid": spoiled(0, kid_of(FOREIGN)),
    "another job": spoiled(1, JOB[:-1] + "2"),
    "non-ASCII": lambda token: token[:-1] + "é",
    "full-width": lambda token: token.replace("0", "\uff10"),
    "a surrogate": lambda token: token[:-1] + "\ud800",
    "a NUL": lambda token: token + "\x00",
    "one part more": lambda token: f"{token}.A",
    "one part less": lambda token: token.rpartition(".")[0],
    "huge": lambda token: token + "A" * 1_000_000,
    "many parts": lambda token: token + "." * 100_000,
    "twice": lambda token: token + token,
}


@pytest.fixture
def callback() -> str:
    """Return a callback token."""
    return master_keys().callback_token("acc", JOB)


@pytest.fixture
def asset() -> str:
    """Return an asset token."""
    return master_keys().asset_token(JOB, 3, NOW)


def test_a_token_tells_what_was_put_in(callback: str, asset: str) -> None:
    assert master_keys().read_callback("acc", callback) == CallbackToken(
        JOB, master_keys().callback_secret("acc", JOB)
    )
    assert master_keys().read_asset(asset) == AssetToken(JOB, 3, NOW)
    assert callback.startswith(f"{kid_of(NEW)}.{JOB}.")
    assert master_keys().callback_token("acc", JOB) == callback


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_a_spoiled_token_is_none_of_ours(spoil: Spoil, callback: str, asset: str) -> None:
    with pytest.raises(BadToken):
        master_keys().read_callback("acc", spoil(callback))
    with pytest.raises(BadToken):
        master_keys().read_asset(spoil(asset))


def test_a_token_has_one_spelling(callback: str, asset: str) -> None:
    for text in other_last_characters(callback):
        with pytest.raises(BadToken):
            master_keys().read_callback("acc", text)
    for text in other_last_characters(asset):
        with pytest.raises(BadToken):
            master_keys().read_asset(text)


@pytest.mark.parametrize("account", ["", "ac", "acc2", "ACC", "acc|", f"acc|{JOB}", "é"])
def test_a_token_is_for_one_account(account: str, callback: str) -> None:
    with pytest.raises(BadToken):
        master_keys().read_callback(account, callback)


@pytest.mark.parametrize("number", ["03", "+3", " 3", "4", "-3", "3.0", "³", "٣", "3_0", ""])
def test_a_number_in_an_asset_token_has_one_spelling(number: str, asset: str) -> None:
    for place in (2, 3):
        with pytest.raises(BadToken):
            master_keys().read_asset(spoiled(place, number)(asset))


def test_a_token_of_one_purpose_means_nothing_for_another(callback: str, asset: str) -> None:
    kid, said = kid_of(NEW), f"{JOB}.3.{int(NOW.timestamp())}"
    signature, of_callback = (token.rpartition(".")[2] for token in (asset, callback))
    with pytest.raises(BadToken):
        master_keys().read_callback("acc", f"{kid}.{JOB}.{signature}")
    with pytest.raises(BadToken):
        master_keys().read_asset(f"{kid}.{said}.{of_callback}")
    with pytest.raises(BadToken):
        master_keys().read_asset(callback)
    with pytest.raises(BadToken):
        master_keys().read_callback("acc", asset)


@BOUNDED
@given(st.text(st.characters(codec=None), max_size=80))
def test_any_text_is_no_token(text: str) -> None:
    with pytest.raises(BadToken):
        master_keys().read_callback("acc", text)
    with pytest.raises(BadToken):
        master_keys().read_asset(text)
    with pytest.raises(BadToken):
        master_keys().read_callback("acc", f"{kid_of(NEW)}.{text}.{text}")


@BOUNDED
@given(st.text(ALPHABET, min_size=1, max_size=40), st.integers(0, 10_000), st.integers(0, 4_000_000_000))
def test_any_asset_comes_back(job_id: str, index: int, ends: int) -> None:
    at = datetime.fromtimestamp(ends, UTC)
    assert master_keys().read_asset(master_keys().asset_token(job_id, index, at)) == AssetToken(
        job_id, index, at
    )


def test_old_keys_verify_and_the_newest_signs(callback: str, asset: str) -> None:
    before, during, after = master_keys(OLD), master_keys(NEW, OLD), master_keys(NEW)
    old_callback, old_asset = before.callback_token("acc", JOB), before.asset_token(JOB, 3, NOW)
    assert during.callback_token("acc", JOB) == callback
    assert during.asset_token(JOB, 3, NOW) == asset
    assert (during.newest, during.kids) == (kid_of(NEW), (kid_of(NEW), kid_of(OLD)))
    assert during.read_asset(old_asset) == AssetToken(JOB, 3, NOW)
    assert during.read_callback("acc", old_callback).secret == before.callback_secret("acc", JOB)
    assert during.callback_secret("acc", JOB) == after.callback_secret("acc", JOB)
    with pytest.raises(BadToken):
        after.read_callback("acc", old_callback)
    with pytest.raises(BadToken):
        after.read_asset(old_asset)


def test_a_secret_is_for_one_account_job_and_key() -> None:
    made = [
        one.callback_secret(account, job)
        for one in (master_keys(OLD), master_keys(NEW))
        for account in ("acc", "acc2")
        for job in (JOB, JOB[:-1] + "2")
    ]
    assert len(set(made)) == len(made)
    assert {len(one) for one in made} == {43}


def test_what_is_sealed_opens_for_its_subject_only() -> None:
    sealed = master_keys(OLD).seal(SECRET, "ep_1")
    assert master_keys(NEW, OLD).unseal(sealed, "ep_1") == SECRET
    assert SECRET.encode() not in sealed
    assert master_keys(OLD).seal(SECRET, "ep_1") != sealed
    assert master_keys(NEW, OLD).seal(SECRET, "ep_1").startswith(kid_of(NEW).encode())
    for one, subject in ((master_keys(OLD), "ep_2"), (master_keys(OLD), ""), (master_keys(NEW), "ep_1")):
        with pytest.raises(BadToken):
            one.unseal(sealed, subject)


@pytest.mark.parametrize("place", [0, 4, 8, 19, 20, -1])
def test_sealed_bytes_that_changed_do_not_open(place: int) -> None:
    sealed = bytearray(master_keys().seal(SECRET, "ep_1"))
    sealed[place] ^= 1
    with pytest.raises(BadToken):
        master_keys().unseal(bytes(sealed), "ep_1")


@pytest.mark.parametrize("size", [0, 1, 7, 16, 20, 21, 35])
def test_sealed_bytes_that_were_cut_do_not_open(size: int) -> None:
    with pytest.raises(BadToken):
        master_keys().unseal(master_keys().seal(SECRET, "ep_1")[:size], "ep_1")


@pytest.mark.parametrize("size", [8, 9, 15])
def test_sealed_bytes_that_were_cut_in_the_nonce_do_not_open(size: int) -> None:
    with pytest.raises(BadToken):
        master_keys().unseal(master_keys().seal(SECRET, "ep_1")[:size], "ep_1")


def test_a_repr_hides() -> None:
    shown = repr(master_keys(NEW, OLD)) + repr(IdGenerator(lambda: NOW, os.urandom))
    assert OLD not in shown
    assert NEW not in shown


def test_an_api_key_has_enough_chance_in_it_and_is_kept_as_a_hash() -> None:
    key = new_api_key(b"\xff" * 32)
    assert key.startswith("rb_")
    assert len(key) == 46
    assert len(hash_api_key(key)) == 32
    assert hash_api_key(key) != hash_api_key(key[:-1])
    assert hash_api_key("rb_\ud800") != hash_api_key("rb_")


# Job tokens.


@pytest.fixture
def of_job() -> str:
    """Return a job token."""
    return master_keys().job_token(JOB, NOW)


def test_a_job_token_tells_its_job_and_its_end(of_job: str) -> None:
    assert of_job.startswith(f"rbj_{kid_of(NEW)}.{JOB}.")
    assert master_keys().read_job_token(of_job) == JobToken(JOB, NOW)


def test_a_spoiled_job_token_is_none_of_ours(of_job: str) -> None:
    kid, job_id, ends, signature = of_job.removeprefix("rbj_").split(".")
    longer = f"rbj_{kid}.{job_id}.{int(ends) + 1}.{signature}"
    another = f"rbj_{kid}.{JOB[:-1]}0.{ends}.{signature}"
    spelled = f"rbj_{kid}.{job_id}.0{ends}.{signature}"
    bare = of_job.removeprefix("rbj_")
    for text in (longer, another, spelled, bare, "rbj_" + of_job, of_job + ".", "rbj_", "rbj_...", ""):
        with pytest.raises(BadToken):
            master_keys().read_job_token(text)
    for text in other_last_characters(of_job):
        with pytest.raises(BadToken):
            master_keys().read_job_token(text)


def test_a_job_token_and_an_asset_token_do_not_stand_in_for_each_other(of_job: str, asset: str) -> None:
    with pytest.raises(BadToken):
        master_keys().read_job_token("rbj_" + asset)
    with pytest.raises(BadToken):
        master_keys().read_asset(of_job.removeprefix("rbj_"))
