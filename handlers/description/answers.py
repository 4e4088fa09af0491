"""The answers to the requests of a description: judged by status and code, then read as an update."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from handlers import fields, json, refusals, said, wire
from handlers.contract import Asset, HttpMessage, Phase, Update
from handlers.description.calls import Call, Resolve
from handlers.description.reading import Read, Reader, View
from handlers.description.terms import Consequence, Meaning
from handlers.description.vocabulary import Description
from handlers.errors import (
    AccountRefused,
    BadPayload,
    ContentRefused,
    Garbled,
    ProviderError,
    Rejected,
    Throttled,
    Unavailable,
)
from handlers.pointers import Ambiguous, first
from handlers.wishes import wish

ERRORS: Mapping[Consequence, type[ProviderError]] = {
    Consequence.ACCOUNT: AccountRefused,
    Consequence.THROTTLED: Throttled,
    Consequence.REJECTED: Rejected,
    Consequence.CONTENT: ContentRefused,
    Consequence.UNAVAILABLE: Unavailable,
    Consequence.UNCLEAR: Garbled,
}
ABOUT_CALL = frozenset({AccountRefused, Throttled, Unavailable})
"""The errors of a call about a job, by a code, which say nothing of the job itself."""
EMPTY = frozenset({202, 204})
"""The statuses of a poll that say with an empty body: not yet."""
Parse = Callable[[HttpMessage], Update]


class Answers:
    """The parsers of a provider's answers. Each raises a `ProviderError` and nothing else, for any bytes."""

    def __init__(self, told: Description, reader: Reader) -> None:
        self._told, self._reader = told, reader
        ok = told.ok
        self._equals = frozenset(ok.equals) if ok else frozenset()
        self._wrong = frozenset(ok.wrong) if ok else frozenset()
        self._judged = first(ok.at, _token, blank=True) if ok else None
        self._message = first(ok.message or (), fields.identity) if ok else None
        self._code = first(told.failure.code or (), fields.code)
        self._submit = reader.view(told.submit.fields)
        self._kept = first(told.submit.kept.at, fields.link) if told.submit.kept else None

    def submitted(self, message: HttpMessage) -> Update:
        """Return the update in a submission's answer. Raises a `ProviderError` when it accepts no job."""
        with _given_once(message):
            return self._submitted(message)

    def _submitted(self, message: HttpMessage) -> Update:
        forced = self._told.submit.http.get(str(message.status))
        body = self._body(message, forced)
        read = self._reader.read(body, message, self._submit, forced)
        update = read.update
        if update.provider_job_id is not None and self._known_already(message, body):
            return replace(update, phase=Phase.QUEUED, failure=None)
        self._judge(message, body, named=update.provider_job_id is not None, submitting=True)
        if update.provider_job_id is None:
            if update.phase is Phase.SUCCEEDED and read.made:
                return update
            raise self._inside(message, body) or Garbled(
                f"the answer names no {self._submit.id_name}", status=message.status
            )
        if self._told.failure.ends and (failure := self._reader.failed(body, read)) is not None:
            return replace(update, phase=Phase.FAILED, failure=failure, assets=())
        # An id is an acceptance, whatever word stands beside it.
        if update.phase is Phase.UNKNOWN:
            update = replace(update, phase=Phase.QUEUED)
        kept = self._kept(body) if self._kept else None
        return replace(update, kept_url=kept) if kept else update

    def call(self, rule: Call, wordless: Meaning | None = None) -> Parse:
        """Return the parser of the answers to a call about a submitted job.

        `wordless` is the meaning of an answer without a word, where the description names none.
        """
        view = self._reader.view(rule.fields, wordless)

        def parse(message: HttpMessage) -> Update:
            with _given_once(message):
                return self._told_of(message, view, rule.http.get(str(message.status)))

        return parse

    def _told_of(self, message: HttpMessage, view: View, forced: Meaning | None) -> Update:
        if not message.body.strip() and (message.status in EMPTY or forced):
            return self._silent(message, forced or Meaning.RUNNING)
        body = self._body(message, forced)
        read = self._reader.read(body, message, view, forced)
        if read.update.phase.final:
            self._judge_failure(message, body, read)
            return read.update
        self._judge(message, body, named=True, submitting=False)
        if read.meaning is Meaning.MISSING:
            # The sentence beside a code that means success is about the call and not about the job.
            code, text = self._told_code(message, body)
            text = "" if code is not None and self._fine(code) else text or said.sentence(body)
            raise Rejected(text, status=message.status, provider_code=read.word or None)
        named = read.update.provider_job_id is not None
        if not read.word and (error := self._inside(message, body, deep=not named)) is not None:
            raise error
        return read.update

    def called_back(self, view: View) -> Parse:
        """Return the parser of callbacks. It raises `BadPayload` and nothing else, for any bytes."""

        def parse(message: HttpMessage) -> Update:
            body = wire.called_back(message)
            try:
                return self._reader.read(body, message, view).update
            except Ambiguous:
                raise BadPayload("a field is given twice") from None

        return parse

    def resolved(self, rule: Resolve) -> Callable[[HttpMessage], Asset]:
        """Return the parser of the answer that brings a fresh link."""
        find = first(rule.url or (), fields.link)
        name = rule.url[0].rpartition("/")[2] if rule.url else "location"

        def parse(message: HttpMessage) -> Asset:
            link = _location(message) if rule.redirect else None
            if link is None:
                with _given_once(message):
                    body = self._body(message, None)
                    self._judge(message, body, named=True, submitting=False)
                    link = find(body)
                    told = self._inside(message, body) if link is None else None
            if link is None:
                raise told or Garbled(f"the answer carries no {name}", status=message.status)
            return Asset(
                kind=rule.kind, url=link, expires_at=message.received_at + rule.life if rule.life else None
            )

        return parse

    def _silent(self, message: HttpMessage, meaning: Meaning) -> Update:
        if meaning is Meaning.MISSING:
            raise Rejected(status=message.status)
        read = self._reader.read({}, message, self._submit, meaning)
        return read.update

    def _body(self, message: HttpMessage, forced: Meaning | None) -> dict[str, Any]:
        """Return the object in an answer that can be read. Raises the error of any other."""
        if 200 <= message.status < 300:
            return wire.answered(message)
        try:
            body = json.forgive(message.body)
        except json.BadJson:
            body = None
        if forced is not None:
            return body if isinstance(body, dict) else {}
        if not isinstance(body, dict):
            raise wire.refused(message, body)
        if self._known_already(message, body):
            return body
        self._judge(message, body, named=False, submitting=True)
        code, text = self._told_code(message, body)
        # The sentence may quote the prompt, so only the code can say that the content was refused.
        error = wire.refused(message, body, code, text, content=self._about_content(code, ""))
        if error.retry_after is None:
            error.retry_after = self._told.waits.get(error.provider_code or "")
        raise error

    def _inside(
        self, message: HttpMessage, body: dict[str, Any], *, deep: bool = True
    ) -> ProviderError | None:
        """Return the refusal that a success carries in its body, None without one."""

        def judge(code: str | None, text: str) -> type[ProviderError]:
            kind = refusals.spoken(code, text)
            return ContentRefused if kind is Rejected and self._about_content(code, text) else kind

        return wire.told_error(message, body, judge, deep=deep)

    def _known_already(self, message: HttpMessage, body: dict[str, Any]) -> bool:
        """Return whether a refusal says that the provider has the job of this submission already."""
        code, text = self._told_code(message, body)
        return self._meant(message, code, text) is Consequence.ACCEPTED

    def _judge(self, message: HttpMessage, body: dict[str, Any], *, named: bool, submitting: bool) -> None:
        """Raise the error that a code in the body means. `named`: the body names a job."""
        code, text = self._told_code(message, body)
        if code is not None and self._fine(code):
            return
        meant = self._meant(message, code, text)
        kind = ERRORS.get(meant) if meant else self._kind(message, code, text, unsure=named or not submitting)
        policy = self._about_content(code, text) or (message.status < 300 and refusals.policy(code, text))
        if kind is Rejected and policy:
            kind = ContentRefused
        if kind is None:
            return
        wait = wish(message, body) or self._told.waits.get(code or "")
        error = kind(text, status=message.status, retry_after=wait, provider_code=code)
        if isinstance(error, AccountRefused) and meant is None:
            error.certain = refusals.about_account(message.status, code, text)
        raise error

    def _about_content(self, code: str | None, text: str) -> bool:
        """Return whether a refusal speaks of the content, by the description's own words for it."""
        told = f"{code or ''} {text}".lower()
        return any(part in told for part in self._told.failure.content)

    def _meant(self, message: HttpMessage, code: str | None, text: str) -> Consequence | None:
        """Return the consequence of a code, or that of a refusal's sentence, by the tables."""
        if code is not None and (meant := self._told.codes.get(code)) is not None:
            return meant
        # A sentence is asked in a refusal only: an answer that accepts may quote the input.
        if message.status < 300 and (self._judged is None or code is None or self._fine(code)):
            return None
        lower = text.lower()
        sentences = self._told.sentences.items()
        return next((kind for kind, parts in sentences if any(part in lower for part in parts)), None)

    def _judge_failure(self, message: HttpMessage, body: dict[str, Any], read: Read) -> None:
        """Raise the error of a call that is told as a failure, but of no named job or without a word.

        It may be about the account, its rate, the provider's service, or a job that is not known.
        """
        update, wordless = read.update, self._told.failure.ends and not read.word
        unnamed = self._judged is not None and update.provider_job_id is None
        if update.phase is not Phase.FAILED or not (wordless or unnamed):
            return
        code, text = self._told_code(message, body)
        if code is None or self._fine(code):
            return
        meant = self._told.codes.get(code)
        kind = ERRORS.get(meant) if meant else refusals.about_call(code, text)
        if kind is not None and (kind in ABOUT_CALL or not meant):
            raise kind(text, status=message.status, retry_after=wish(message, body), provider_code=code)

    def _fine(self, code: str) -> bool:
        return code in self._equals or bool(self._wrong and code not in self._wrong)

    def _told_code(self, message: HttpMessage, body: dict[str, Any]) -> tuple[str | None, str]:
        if self._judged is not None and (code := self._judged(body)) is not None:
            text = (self._message(body) if self._message else None) or said.sentence(body)
            return code, text
        if message.status < 200:
            return None, ""
        if message.status < 300:
            code, text = wire.error_inside(body) or (None, "")
            return self._code(body) or code if code or text else None, text
        return self._code(body) or said.code_of(body), self._reader.sentence(body)

    def _kind(
        self, message: HttpMessage, code: str | None, text: str, *, unsure: bool
    ) -> type[ProviderError] | None:
        """Return the class of the error for a code that no table has, None where the status alone decides."""
        # An error beside a job may be a remark where codes have no place of their own: only a table decides.
        if code is None or message.status >= 300 or self._judged is None:
            return None
        # Only a code with a sentence is surely the provider's own refusal; anything else may hide a job.
        return Garbled if unsure or not text else refusals.spoken(code, text)


@contextmanager
def _given_once(message: HttpMessage) -> Iterator[None]:
    """Make a field that is read and was given twice an answer that cannot be read."""
    try:
        yield
    except Ambiguous:
        raise Garbled("the answer could not be read", status=message.status) from None


def _location(message: HttpMessage) -> str | None:
    """Return the target of a redirect, None for any other answer."""
    places = message.every("location") if 300 <= message.status < 400 else []
    return fields.link(places[0]) if len(places) == 1 else None


def _token(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return fields.code(value)
