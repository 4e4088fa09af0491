"""The sentence of an error, shown to people where a provider gives none itself."""

from collections.abc import Iterator

import pytest

from handlers.errors import AccountRefused, ProviderError


def every(kind: type[ProviderError]) -> Iterator[type[ProviderError]]:
    """Yield all classes below one."""
    for below in kind.__subclasses__():
        yield below
        yield from every(below)


@pytest.mark.parametrize("kind", dict.fromkeys(every(ProviderError)))
def test_an_error_has_one_sentence_without_the_words_of_programmers(kind: type[ProviderError]) -> None:
    sentence = kind.meaning()
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "`" not in sentence


def test_a_provider_s_own_words_go_before_the_sentence_of_the_class() -> None:
    assert str(AccountRefused("no credit left")) == "no credit left"
    assert str(AccountRefused()) == (
        "The account cannot be used: wrong key, no credit or no plan (401, 402, 403 and their equivalents)."
    )
