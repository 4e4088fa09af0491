"""The cleaning of foreign text: only characters that are fit to be stored, logged and shown remain."""

import re

SAID = 500
"""The most characters that are kept of a provider's own sentence."""

_UNFIT = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"  # Cc, but for the tab and the line feed
    r"\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f\u202a-\u202e"  # Cf
    r"\u2060-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
    r"\u2028\u2029\ud800-\uf8ff\U000f0000-\U0010ffff]"  # Zl, Zp, Cs, Co
)
"""Characters that are not shown, or change how others are shown. Of the format characters the two joiners are
missing here, because emoji and some scripts need them."""
_BREAKS = re.compile(r"[\t\n]")


def clean(text: str, limit: int = SAID) -> str:
    """Return foreign text that is fit for any store, log and terminal, cut at `limit` characters.

    Control, format and private characters and surrogates are removed.
    """
    # Bounds the work: of a longer text only this part is cleaned.
    text = text[: 8 * limit]
    fit = text.isascii() and text.isprintable()  # most texts: ids, words, plain sentences
    return (text if fit else _UNFIT.sub("", text))[:limit]


def unfit(text: str) -> str | None:
    """Return the first character of `text` that is not shown as itself (also tab and line feed), or None."""
    found = _UNFIT.search(text) or _BREAKS.search(text)
    return found[0] if found else None
