"""Places in traces: read as W3C says; an invalid one is ignored."""

import pytest

from receiver.tracing import NoTracing, TracePlace, read, sampled

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (GOOD, TracePlace(TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-00", TracePlace(TRACE, SPAN, False)),
        (f"00-{TRACE}-{SPAN}-03", TracePlace(TRACE, SPAN, True)),
        # A later version may have more behind the flags.
        (f"cc-{TRACE}-{SPAN}-01-what-comes", TracePlace(TRACE, SPAN, True)),
        (f"cc-{TRACE}-{SPAN}-01", TracePlace(TRACE, SPAN, True)),
    ],
)
def test_a_place_is_read(text: str, place: TracePlace) -> None:
    assert read(text) == place


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "x" * 10_000,
        GOOD.upper(),
        GOOD + " ",
        GOOD + "-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0g",
        f"cc-{TRACE}-{SPAN}-01.x",
        GOOD.replace("0", "\N{ARABIC-INDIC DIGIT ZERO}", 1),
    ],
)
def test_any_other_text_is_no_place(text: str | None) -> None:
    assert read(text) is None


def test_a_place_is_told_as_it_was_read() -> None:
    assert str(read(GOOD)) == GOOD
    assert str(read(f"cc-{TRACE}-{SPAN}-03-x")) == GOOD


def test_without_tracing_a_trace_is_passed_on_and_nothing_recorded() -> None:
    tracing = NoTracing()
    assert tracing.begin(None) is None
    place = tracing.begin(GOOD)
    assert place == TracePlace(TRACE, SPAN, True)
    assert tracing.child(place) == place
    assert sampled(tracing, GOOD) is None
