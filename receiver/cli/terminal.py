"""Output of untrusted text: it cannot move the cursor, change colours or reorder a line."""

import os
import shutil
import sys
import textwrap
import unicodedata

import click

UNSAFE = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Unicode categories that are escaped: control, format (bidi included), private, surrogate, separators."""


def prepare_streams() -> None:
    """Make standard output and error fit for any text, and open those that the caller has closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number is given out: a database would get it, and output would be written there.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115  # until the end
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115  # until the end
    for stream in (sys.stdout, sys.stderr):
        # Output may hold characters that the terminal's encoding lacks; they must not end the command.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # both are text files here


def plain(text: str) -> str:
    r"""Return `text` on one line, with every unsafe character as `\u....`."""
    if text.isprintable():
        return text
    return "".join(_escaped(one) if unicodedata.category(one) in UNSAFE else one for one in text)


def say(text: str, *, err: bool = False) -> None:
    """Print text on one line, with unsafe characters escaped."""
    click.echo(plain(text), err=err)


def tell(text: str, *, note: str = "", err: bool = False) -> None:
    """Print a sentence and a note, escaped: wrapped on a terminal, elsewhere on one line."""
    text, note = plain(text), plain(note)
    on_terminal = (sys.stderr if err else sys.stdout).isatty()
    width = shutil.get_terminal_size().columns if on_terminal else len(text) + len(note) + 3
    click.echo(noted(text, note, width), err=err)


def noted(text: str, note: str, width: int) -> str:
    """Return a wrapped sentence and its note, which is not wrapped: behind it if it fits, else below."""
    lines = wrapped(text, width)
    if not note:
        return lines
    last = lines.rsplit("\n", 1)[-1]
    return f"{lines}  {note}" if len(f"{last}  {note}") <= width else f"{lines}\n  {note}"


def wrapped(text: str, width: int, *, first: str = "", rest: str = "  ") -> str:
    """Return `text` in lines of at most `width` characters. A longer word, such as a URL, is not broken."""
    return textwrap.fill(
        text,
        max(width, len(rest) + 1),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
