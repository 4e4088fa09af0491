"""The errors of providers for people: sentence, code, and the failure made of both."""

from collections.abc import Sequence

from handlers import refusals
from handlers.contract import Failure, FailureCode, Phase
from handlers.text import clean

PLAIN = frozenset({"", "fail", "failed", "failure", "error"})
"""Words for a failure that give no reason."""
_SAID = ("message", "msg", "status_msg", "detail", "title", "error", "errors", "base_resp", "problem")
_REASONS = (
    "error_message",
    "error_msg",
    "failure_reason",
    "fail_reason",
    "reject_reason",
    "failure",
    "reason",
    "status_details",
    "failMsg",
    "task_status_msg",
    "error_details",
    "err_msg",
    "raw_message",
)
FAILURES = tuple(name for name in _REASONS if any(part in name for part in ("fail", "err", "reject")))
"""The fields of reasons that a success never has; the others may describe it as well."""
_MORE = ("issues", "invalid_params")
"""Lists of errors beside a sentence about the whole."""
_PLACES = frozenset({"loc", "path", "field", "param"})
_ERRORS = 3
"""The most errors of a list that a sentence names."""


def sentence(value: object) -> str:
    """Return the sentence in a provider's error body, preceded by the field that it is about.

    Several names of fields are tried, because each provider has its own. Returns "" if none has a sentence.
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        several = [said for one in value[:16] if (said := sentence(one))]
        return clean("; ".join(dict.fromkeys(several[:_ERRORS])))
    if not isinstance(value, dict):
        return ""
    text = next((found for place in (*_SAID, *_REASONS) if (found := sentence(value.get(place)))), "")
    field: str = next((one for place in value if place in _PLACES and (one := _field(value[place]))), "")
    details = value.get("details")
    if isinstance(details, list):
        # Google's details name no field: they repeat the sentence, with its address.
        details = [one for one in details if isinstance(one, dict) and not _PLACES.isdisjoint(one)]
    more = [_by_field(details) or sentence(details), *(sentence(value.get(place)) for place in _MORE)]
    whole = text.removesuffix(".") if any(more) else text
    told = "; ".join(dict.fromkeys(part for part in (whole, *more) if part)) or _by_field(value, lists=True)
    return clean(f"{field}: {told}" if field and told else told)


def _by_field(value: object, *, lists: bool = False) -> str:
    """Return the sentences of an object that names fields, each after its field; "" for anything else.

    With `lists` only lists of texts count, as in an object that may hold anything else as well. A link is no
    sentence.
    """
    if not isinstance(value, dict):
        return ""
    parts = []
    for name, inner in value.items():
        several = isinstance(inner, list) and all(isinstance(one, str) for one in inner)
        told = sentence(inner) if several or not lists else ""
        if told and "://" not in told:
            parts.append(clean(f"{clean(str(name), 100)}: {told}"))
    return "; ".join(parts[:_ERRORS])


def reason(value: object, *, names: Sequence[str] = _REASONS) -> str:
    """Return the sentence in a field that holds the reason of a failure; "" without one.

    `FAILURES` are those of its names that no success has.
    """
    if not isinstance(value, dict):
        return ""
    return next((found for name in names if (found := sentence(value.get(name)))), "")


def _field(value: object) -> str:
    if isinstance(value, list):
        return ".".join(clean(str(one), 40) for one in value[:8] if isinstance(one, str | int))
    # The root of a JSONPath names no field.
    return clean(value.removeprefix("$").removeprefix("."), 100) if isinstance(value, str) else ""


def code_of(value: object) -> str | None:
    """Return the provider's code for an error, from `error.code` or `code`; None when there is none."""
    if not isinstance(value, dict):
        return None
    inner = value.get("error")
    code = inner.get("code") if isinstance(inner, dict) else value.get("code")
    return clean(str(code), 100) if isinstance(code, str | int) and not isinstance(code, bool) else None


def failure(
    code: str | None, *places: object, word: str = "", otherwise: str = "generation failed"
) -> Failure:
    """Return the failure of a generation: the first sentence found at `places`, and the service's code.

    `word` is the status word. It becomes the provider's code where there is no other, unless it says no more
    than "failed" or is a word for success beside an error.
    """
    told = [found for place in places for found in (sentence(place), reason(place)) if found]
    said = next(iter(told), "")
    plain = word in PLAIN or refusals.known(word) is Phase.SUCCEEDED
    provider_code = code or (None if plain else word)
    return Failure(provider_code, said or otherwise, refusals.failure_code(code, *told, word=word))


def is_error(value: object) -> bool:
    """Return whether an error field holds an error: many providers always send it, empty or with code 0."""
    code = value.get("code") if isinstance(value, dict) else None
    return bool(sentence(value)) or (isinstance(code, str | int) and code not in {0, "0", ""})


def canceled(word: str) -> Failure:
    """Return the failure of a job that its provider canceled; `word` is the status word."""
    return Failure(word or None, "the provider canceled it", FailureCode.CANCELED_BY_PROVIDER)
