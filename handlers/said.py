"""The errors of providers for people: sentence, code, and the failure made of both."""

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
_PLACES = ("loc", "path", "field", "param")
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
    field: str = next((one for place in _PLACES if (one := _field(value.get(place)))), "")
    details = value.get("details")
    if isinstance(details, dict):
        parts = [clean(f"{name}: {sentence(inner)}") for name, inner in list(details.items())[:_ERRORS]]
        text = "; ".join(part for part in (text, *parts) if part)
    if isinstance(issues := value.get("issues"), list):
        text = "; ".join(part for part in (text, sentence(issues)) if part)
    return clean(f"{field}: {text}" if field and text else text)


def reason(value: object) -> str:
    """Return the sentence in a field that only ever holds the reason of a failure; "" without one."""
    if not isinstance(value, dict):
        return ""
    return next((found for name in _REASONS if (found := sentence(value.get(name)))), "")


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
    said = next((found for place in places if (found := sentence(place))), "")
    plain = word in PLAIN or refusals.known(word) is Phase.SUCCEEDED
    provider_code = code or (None if plain else word)
    return Failure(provider_code, said or otherwise, refusals.failure_code(code, said, word))


def is_error(value: object) -> bool:
    """Return whether an error field holds an error: many providers always send it, empty or with code 0."""
    code = value.get("code") if isinstance(value, dict) else None
    return bool(sentence(value)) or (isinstance(code, str | int) and code not in {0, "0", ""})


def canceled(word: str) -> Failure:
    """Return the failure of a job that its provider canceled; `word` is the status word."""
    return Failure(word or None, "the provider canceled it", FailureCode.CANCELED_BY_PROVIDER)
