"""Errors of files and addresses: the reason of the system, and the next step where one is known."""

import errno
import os

import pytest

from receiver.domain.errors import cannot_listen, no_file, no_such


def failed(number: int) -> OSError:
    """Return the error of the system with this number."""
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EACCES, "Permission denied; let the user that runs this use it (chown, chmod)"),
        (errno.ENOSPC, "No space left on device; make room on its disk"),
        (errno.EISDIR, "Is a directory; name a file"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_the_next_step(number: int, says: str) -> None:
    assert no_file(failed(number)) == says


@pytest.mark.parametrize(
    ("host", "number", "says"),
    [
        (
            "127.0.0.1",
            errno.EADDRINUSE,
            (
                "cannot listen on 127.0.0.1:80: Address already in use; "
                "stop what listens there, or choose another; --port 0 takes a free one"
            ),
        ),
        (
            "::1",
            errno.EACCES,
            (
                "cannot listen on [::1]:80: Permission denied; "
                "ports below 1024 are for root; choose another with --port"
            ),
        ),
        ("h", errno.EIO, "cannot listen on h:80: Input/output error"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_told_with_the_next_step(
    host: str, number: int, says: str
) -> None:
    assert cannot_listen(host, 80, failed(number)) == says


@pytest.mark.parametrize("kind", ["job", "event", "endpoint", "delivery", "key"])
def test_an_id_that_names_nothing_is_told_with_the_call_that_lists(kind: str) -> None:
    error = no_such(kind)
    assert (error.http_status, error.code) == (404, "not-found")
    plural = {"delivery": "deliveries"}.get(kind, f"{kind}s")
    assert error.detail == f"no such {kind}; GET /v1/{plural} lists those that are there"
