"""The errors of the client: a class for each code of the service."""

import pickle

import pytest

from receiver.domain import errors as service
from ringback import errors
from ringback.errors import (
    BY_CODE,
    FieldProblem,
    Invalid,
    RingbackError,
    UnexpectedAnswer,
    Unreachable,
    WaitTimeout,
)


def service_codes() -> set[str]:
    """Return the code of every error that the service answers with."""
    kinds = [kind for kind in vars(service).values() if isinstance(kind, type)]
    return {kind.code for kind in kinds if issubclass(kind, service.ReceiverError) and "code" in vars(kind)}


def test_every_code_of_the_service_has_its_class() -> None:
    assert service_codes() == BY_CODE.keys() - {UnexpectedAnswer.code}
    assert all(kind.code == code for code, kind in BY_CODE.items())


def test_one_base_catches_them_all() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 20
    assert all(issubclass(kind, RingbackError) for kind in kinds)


def test_an_error_says_its_code_its_detail_and_the_request() -> None:
    field = FieldProblem("body", "/provider", "", "is unknown")
    error = Invalid("provider: is unknown", status=422, errors=[field], request_id="req_9")
    assert str(error) == "validation: provider: is unknown (request req_9)"
    assert (error.code, error.status, error.errors) == ("validation", 422, (field,))
    assert str(RingbackError("plain")) == "plain"


def test_a_code_that_the_client_does_not_know_is_kept() -> None:
    assert errors.ServiceError("new", code="brand-new").code == "brand-new"


def test_the_end_of_a_wait_is_a_timeout_as_well() -> None:
    with pytest.raises(TimeoutError):
        raise WaitTimeout("over")


def test_an_answer_that_never_came_says_whether_the_call_was_sent() -> None:
    assert (Unreachable("cut", sent=True).sent, Unreachable("refused", sent=False).sent) == (True, False)
    assert Unreachable("cut", sent=True).code == "unreachable"


@pytest.mark.parametrize("error", [Invalid("wrong", status=422), Unreachable("cut", sent=True)], ids=repr)
def test_an_error_survives_the_way_to_another_process(error: RingbackError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
