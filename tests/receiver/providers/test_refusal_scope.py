"""Refusals of calls: those that are about one job, and those that are about its account."""

import pytest

from receiver.providers.refusal_scope import JOBS, KEPT, RefusalScope


def test_words_about_the_key_or_the_balance_are_about_the_account() -> None:
    assert RefusalScope().refuses("a", "video", certain=True) == (True, 1)


def test_one_job_s_bare_refusals_are_its_own_however_often_they_come() -> None:
    suspects = RefusalScope()
    assert [suspects.refuses("a", "video", certain=False) for _ in range(5)] == [
        (False, count) for count in range(1, 6)
    ]


def test_bare_refusals_of_two_operations_are_about_the_account() -> None:
    suspects = RefusalScope()
    assert suspects.refuses("a", "video", certain=False) == (False, 1)
    assert suspects.refuses("b", "image", certain=False) == (True, 1)


def test_bare_refusals_of_several_jobs_in_a_row_are_about_the_account() -> None:
    suspects = RefusalScope()
    told = [suspects.refuses(str(number), "video", certain=False)[0] for number in range(JOBS)]
    assert told == [False] * (JOBS - 1) + [True]


@pytest.mark.parametrize("certain", [True, False])
def test_a_job_that_is_refused_though_others_pass_stands_for_itself(certain: bool) -> None:
    suspects = RefusalScope()
    suspects.refuses("a", "video", certain=certain)
    suspects.takes("b")
    for count in range(2, 10):
        assert suspects.refuses("a", "video", certain=certain) == (False, count)
        suspects.takes("b")
    assert suspects.refuses("c", "video", certain=True) == (True, 1)


def test_a_job_that_was_taken_is_no_suspect_any_more() -> None:
    suspects = RefusalScope()
    suspects.refuses("a", "video", certain=False)
    suspects.takes("a")
    assert suspects.refuses("a", "video", certain=True) == (True, 1)


def test_only_so_many_refused_jobs_are_remembered() -> None:
    suspects = RefusalScope()
    for number in range(KEPT + 10):
        suspects.refuses(str(number), "video", certain=False)
        suspects.takes("other")
    assert len(suspects.refused) == KEPT


def test_only_refusals_without_a_taken_call_between_them_are_in_a_row() -> None:
    scope = RefusalScope()
    told = []
    for job in ("a", "b", "taken", "c", "d", "e"):
        if job == "taken":
            scope.takes(job)
        else:
            told.append(scope.refuses(job, "video", certain=False)[0])
    assert told == [False, False, False, False, True]


def test_the_oldest_refused_job_is_forgotten_first() -> None:
    scope = RefusalScope()
    for number in range(KEPT + 1):
        scope.refuses(str(number), "video", certain=False)
    assert list(scope.refused) == [str(number) for number in range(1, KEPT + 1)]
    assert scope.refuses("0", "video", certain=False)[1] == 1
