"""Tests of the output of untrusted text: unsafe characters are escaped, and sentences are wrapped."""

import contextlib
import io
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.cli.terminal import noted, plain, say, tell, wrapped
from tests.receiver.terminal_screen import on_terminal


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a tide, coming in: 100 % ~", "a tide, coming in: 100 % ~"),
        ("Grüße, 潮, 🌊", "Grüße, 潮, 🌊"),
        ("\x1b]0;owned\x07\x1b[2J", "\\u001b]0;owned\\u0007\\u001b[2J"),
        ("\x9b31m \x7f", "\\u009b31m \\u007f"),
        ("a\r\nb\tc\x00", "a\\u000d\\u000ab\\u0009c\\u0000"),
        ("\u202ereversed\u2066\u200b\ufeff\u00ad", "\\u202ereversed\\u2066\\u200b\\ufeff\\u00ad"),
        ("\ud800 \ue000 \u2028\u2029", "\\ud800 \\ue000 \\u2028\\u2029"),
        ("\U000e0041\U000f0000", "\\U000e0041\\U000f0000"),
        ("[bold]x[/nope] [link=https://x.example]", "[bold]x[/nope] [link=https://x.example]"),
    ],
)
def test_text_cannot_drive_a_terminal(text: str, printed: str) -> None:
    assert plain(text) == printed


@given(st.text(st.characters()))
@settings(max_examples=300, deadline=None)
def test_no_unsafe_character_is_printed(text: str) -> None:
    found = {unicodedata.category(one) for one in plain(text)}
    assert not found & {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
    assert plain(text).count("\n") == 0


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_sentence_is_wrapped_between_words_and_an_id_stays_whole(width: int) -> None:
    text = "there is no job job_01a22300000000000000000000000000; a-b lists " + "those that are there " * 9
    lines = wrapped(text.strip(), width).splitlines()
    assert " ".join(" ".join(lines).split()) == text.strip()
    assert all(len(line) <= width or len(line.split()) == 1 for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (26, "port = 8080  # environment"),
        (25, "port = 8080\n  # environment"),
        (9, "port =\n  8080\n  # environment"),
        (21, "port = 8080\n  # environment"),
    ],
)
def test_a_note_stays_whole_and_a_comment(width: int, shown: str) -> None:
    assert noted("port = 8080", "# environment", width) == shown


def test_a_sentence_without_a_note_ends_with_its_last_word() -> None:
    assert noted("port = 8080", "", 80) == "port = 8080"


def test_a_text_is_said_on_one_line_on_either_stream(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\nb")
    say("c\x1b", err=True)
    assert capsys.readouterr() == ("a\\u000ab\n", "c\\u001b\n")


@pytest.mark.parametrize("err", [False, True])
def test_a_sentence_stays_on_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str], err: bool) -> None:
    tell("word " * 40 + "\t.", note="# a\nnote", err=err)
    printed = capsys.readouterr()
    expected = "word " * 40 + "\\u0009.  # a\\u000anote\n"
    assert printed == (("", expected) if err else (expected, ""))


def test_a_sentence_is_wrapped_on_a_terminal() -> None:
    with on_terminal() as screen:
        tell("words " * 20 + "end", note="# the note")
    line = " ".join(["words"] * 13)
    assert screen.out.lines == [line, "  " + " ".join(["words"] * 7) + " end  # the note"]
    assert screen.err.lines == []


def test_only_the_stream_that_is_printed_to_decides() -> None:
    pipe = io.StringIO()
    with on_terminal() as screen, contextlib.redirect_stdout(pipe):
        tell("words " * 20 + "end", err=True)
        tell("words " * 20 + "end")
    assert len(screen.err.lines) == 2
    assert pipe.getvalue() == "words " * 20 + "end\n"


def test_lines_may_begin_with_an_indent_and_words_are_not_broken() -> None:
    text = "https://hooks.example/a-very-long-path is-not-broken"
    lines = wrapped(text, 20, first="> ", rest="    ").splitlines()
    assert lines == ["> https://hooks.example/a-very-long-path", "    is-not-broken"]


def test_an_indent_wider_than_the_terminal_leaves_a_word_to_each_line() -> None:
    assert wrapped("a b", 1, rest="    ").splitlines() == ["a b"]
    assert wrapped("aaa bbb", 1, rest="    ").splitlines() == ["aaa", "    bbb"]
