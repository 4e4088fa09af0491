"""Dictionaries that keep only their newest entries."""

from receiver.domain.bounded import keep


def test_the_oldest_makes_room() -> None:
    kept: dict[str, int] = {}
    for number, name in enumerate("abac"):
        keep(kept, name, number, 2)
    assert kept == {"a": 2, "c": 3}
