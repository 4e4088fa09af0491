"""Other people's text on a terminal: nothing in it moves the cursor, changes colours or reorders a line."""

import unicodedata

import click

UNSAFE = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Unicode categories that are escaped: control, format (bidi included), private, surrogate, separators."""


def plain(text: str) -> str:
    r"""Return `text` on one line, with every unsafe character as `\u....`."""
    if text.isprintable():
        return text
    return "".join(_escaped(one) if unicodedata.category(one) in UNSAFE else one for one in text)


def say(text: str, *, err: bool = False) -> None:
    """Print one line of text, whatever it holds."""
    click.echo(plain(text), err=err)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
