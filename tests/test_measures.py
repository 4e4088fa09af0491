"""The layout and the descriptions of the code, held against their bars."""

from pathlib import Path

import pytest

from tests.measures import (
    CLIENT,
    HANDLERS,
    RECEIVER,
    circles,
    comments,
    docstrings_on_pronouns,
    flat_modules,
    mirrored,
    shared_class_names,
)

pytestmark = pytest.mark.xdist_group("sources")
SHARED_NAMES: dict[str, str] = {}
"""Class names that two modules may share, each with the reason."""


def test_few_modules_lie_flat() -> None:
    assert len(flat_modules()) <= 4


@pytest.mark.parametrize("package", [RECEIVER, CLIENT], ids=lambda path: path.name)
def test_no_modules_import_each_other_in_a_circle(package: Path) -> None:
    assert circles(package) == []


@pytest.mark.parametrize("folder", [RECEIVER, HANDLERS, CLIENT], ids=lambda path: path.name)
def test_docstrings_name_their_things(folder: Path) -> None:
    bad, count = docstrings_on_pronouns(folder)
    assert count > 200
    assert bad == 0


@pytest.mark.parametrize("folder", [RECEIVER, HANDLERS, CLIENT], ids=lambda path: path.name)
def test_comments_say_why_where_a_reader_stops(folder: Path) -> None:
    noted, lines = comments(folder)
    assert noted >= lines / 100


def test_a_class_name_stands_for_one_class() -> None:
    assert shared_class_names(RECEIVER, HANDLERS).keys() == SHARED_NAMES.keys()
    assert len(SHARED_NAMES) <= 4


def test_a_class_name_of_the_client_stands_for_one_class() -> None:
    # Apart from the service's: the two are installed apart, and both have a `Job`.
    assert shared_class_names(CLIENT) == {}


@pytest.mark.parametrize("package", [RECEIVER, CLIENT], ids=lambda path: path.name)
def test_modules_with_logic_have_a_test_file_of_their_name(package: Path) -> None:
    have, lack = mirrored(package)
    assert len(have) >= 0.75 * (len(have) + len(lack)), lack
