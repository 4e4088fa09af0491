"""Lines of the log that repeat."""

from receiver.events.log_lines import EVERY, KINDS, LINES, Sparing


def test_what_repeats_is_told_at_once_and_then_once_a_minute_with_its_count() -> None:
    clock = [0.0]
    sparing = Sparing(lambda: clock[0])
    assert [sparing.count("a") for _ in range(3)] == [1, 0, 0]
    assert sparing.count("b") == 1
    clock[0] += EVERY
    assert sparing.count("a") == 3
    assert sparing.count("a") == 0


def test_kinds_without_number_are_not_kept() -> None:
    sparing = Sparing(lambda: 0.0)
    for number in range(3 * KINDS):
        sparing.count(str(number))
    assert len(sparing._since) <= KINDS


def test_every_line_takes_as_many_values_as_it_has() -> None:
    for line in LINES.values():
        assert line.text % tuple("x" for _ in line.values)
