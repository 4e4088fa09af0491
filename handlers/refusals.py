"""The meaning of providers' words beyond their own tables: ends of jobs, refusals by a code or a sentence.

Gateways add words of their own in front of a provider, and one HTTP status has several meanings (403 for a
wrong key, for a model, for the content). A handler's own table always comes first.
"""

import re
from collections.abc import Mapping

from handlers.contract import FailureCode, Phase
from handlers.errors import (
    AccountRefused,
    ContentRefused,
    Garbled,
    ProviderError,
    Redirected,
    Rejected,
    Throttled,
    Unavailable,
)

SUCCEEDED = ("success", "succeed", "succeeded", "completed", "finished")
CANCELED = ("canceled", "cancelled", "cancel", "aborted", "terminated")
POLICY_WORDS = frozenset(
    {"nsfw", "moderated", "banned", "rejected", "content_moderated", "request_moderated"}
)
FAILED = ("fail", "failed", "failure", "error", "errored", "expired", "timeout", "timed_out", "timedout")
WORDS: Mapping[str, Phase] = {
    **dict.fromkeys(SUCCEEDED, Phase.SUCCEEDED),
    **dict.fromkeys(CANCELED, Phase.CANCELED),
    **dict.fromkeys((*FAILED, *POLICY_WORDS), Phase.FAILED),
}
"""Status words that end a job at every provider, in lower case with `_` for blanks and hyphens."""
MISSING = frozenset(
    {"unknown", "not_found", "notfound", "task_not_found", "tasknotfound", "task_not_exist", "job_not_found"}
)
"""Status words by which a provider says that it does not know the job (any more)."""

BY_STATUS: Mapping[int, type[ProviderError]] = {
    401: AccountRefused,
    402: AccountRefused,
    403: AccountRefused,
    408: Unavailable,
    425: Throttled,
    429: Throttled,
}
_BLANKS = re.compile(r"[\s\-]+")
_STATUS = re.compile(r"[45][0-9][0-9]", re.ASCII)
"""A code that repeats an HTTP status."""
_MONEY_CODES = frozenset({"1100", "1101", "1102", "1008"})
"""Codes beside a 429 that speak of the balance: Kling's (arrears, a pack used up) and MiniMax's."""


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_MONEY = _any(
    r"insufficient[ _-]?(account[ _-])?(quota|balance|credits?|funds)",
    r"(out of|not enough|no) (credits?|balance|funds)",
    r"(balance|credits?|funds)[ _](is |are )?(not[ _]enough|too low|exhausted|used up|insufficient|depleted)",
    r"exhausted (balance|credits?)|overdue balance|arrears|exceeded your current quota",
    r"(resource )?pack(age)? (is )?(depleted|used up|exhausted)|quota .{0,20}billing",
    r"\brecharge\b|top up your",
    r"subscription (has |is )?(expired|ended|inactive)|exhausted your .{0,20}(limit|quota|credits)",
)
_KEY = _any(
    r"(api|access|invalid)[ _-]?key|credentials?|authenticat",
    r"(account|user) (is |has been )?(suspended|disabled|blocked|deactivated|locked)",
)
_POLICY = _any(
    r"nsfw|content[ _-]?policy|moderat(ed|ion)|flagged",
    r"sensitive[ _-]?(content|word|image)|(content|output|input)[ _-](is )?sensitive",
    r"safety (system|filter|check)|content[ _-]?filter",
    r"violat\w* .{0,40}(polic(y|ies)|guidelines?|terms)|(prohibited|banned|inappropriate|forbidden)[ _]"
    r"(word|prompt|content|image|input)|prompt (is |was )?(banned|prohibited|blocked|inappropriate)",
)
_RATE = _any(
    r"rate[ _-]?limit|too[ _]many[ _]requests|throttl|slow down", r"(server|system|service) is (too )?busy"
)
_AGAIN = _any(r"\btry again\b")
_LOST = _any(r"^(the )?(request|task|job|generation|prediction)\b.{0,60}\b(not found|does not exist)")
_FAULT = _any(r"internal|server error|time[d]?[ _-]?out|unavailable|overload|gateway|maintenance")
_MODEL = _any(
    r"\bterms\b|\blicen[cs]es?\b",
    r"\bmodels?\b|\bversion\b|(feature|api)[ _]not[ _]allowed|(this|the requested) (operation|feature)",
)


def known(word: str) -> Phase:
    """Return the phase that a status word (lower case) means at every provider, or UNKNOWN."""
    return WORDS.get(_BLANKS.sub("_", word), Phase.UNKNOWN)


def missing(word: str) -> bool:
    """Return whether a status word (lower case) says that the provider does not know the job."""
    return _BLANKS.sub("_", word) in MISSING


def policy(*texts: str | None) -> bool:
    """Return whether a code or a sentence says that the content was refused."""
    # `rejected` as a code may be about anything. As a status word it names the content: `failure_code`.
    return any(
        text and (_BLANKS.sub("_", text.lower()) in POLICY_WORDS - {"rejected"} or _POLICY.search(text))
        for text in texts
    )


def failure_code(*texts: str | None, word: str = "") -> FailureCode:
    """Return the service's code for a failed generation, by the provider's codes, sentences and word."""
    refused = policy(*texts, word) or _BLANKS.sub("_", word) in POLICY_WORDS
    return FailureCode.CONTENT_POLICY if refused else FailureCode.GENERATION_FAILED


def refusal(status: int, code: str | None, said: str) -> type[ProviderError]:
    """Return the class of error for an answer without success, by its status and its body."""
    text = f"{code or ''} {said}"
    # The sentence of a 400 may quote the prompt ("no funds"), so only its code can speak of money.
    if status in {400, 403, 429} and _MONEY.search(text if status != 400 else code or ""):
        return AccountRefused
    if status == 429 and code in _MONEY_CODES:
        return AccountRefused
    if status == 403 and not _KEY.search(text):
        if policy(code, said):
            return ContentRefused
        if _MODEL.search(text):
            return Rejected
    if 300 <= status < 400:
        return Redirected
    kind = BY_STATUS.get(status) or (Unavailable if status >= 500 else Rejected)
    # The sentence may quote the prompt, so only the code can say that the content was refused.
    return ContentRefused if kind is Rejected and policy(code) else kind


def spoken(code: str | None, said: str) -> type[ProviderError]:
    """Return the class of error for an error inside a success, by its words alone."""
    text = f"{code or ''} {said}"
    # A fault inside a success may hide an accepted job, so it is `Garbled` and not a refusal.
    by_words = ((_MONEY, AccountRefused), (_RATE, Throttled), (_FAULT, Garbled), (_KEY, AccountRefused))
    kind = next((kind for pattern, kind in by_words if pattern.search(text)), _by_number(code))
    return ContentRefused if kind is Rejected and policy(code, said) else kind


def about_call(code: str | None, said: str) -> type[ProviderError] | None:
    """Return the class of error for a failure that may be one of the call alone; None for one of the job.

    `Rejected` means that the provider does not know the job.
    """
    if missing((code or "").lower()) or _LOST.search(said):
        return Rejected
    kind = spoken(code, said)
    if kind in {AccountRefused, Throttled}:
        return kind
    return Unavailable if _AGAIN.search(said) else None


def _by_number(code: str | None) -> type[ProviderError]:
    """Return the class of error for a code inside a success, where it repeats an HTTP status."""
    if not _STATUS.fullmatch(code or ""):
        return Rejected
    status = int(code or 0)
    return Garbled if status >= 500 or status == 408 else BY_STATUS.get(status, Rejected)


def about_account(status: int | None, code: str | None, said: str) -> bool:
    """Return whether a refusal is surely about the account.

    A 403 that names neither key nor balance may be about one job as well, and so may a 402 that names a model
    or an operation, which the plan does not include.
    """
    text = f"{code or ''} {said}"
    if status == 403 or (status == 402 and _MODEL.search(text)):
        return bool(_MONEY.search(text) or _KEY.search(text))
    return True
