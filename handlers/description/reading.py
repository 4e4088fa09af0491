"""The reader of a description: compiles its tables once, and makes a body into an `Update`.

The order of judgement is the same for every provider: the status word by the description's table and then by
the common one, a file or a result where there is no word, a filter's flag, an error where there is no file.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from handlers import fields, json, refusals, said, wire
from handlers.contract import Failure, FailureCode, HttpMessage, Phase, Update
from handlers.description.files import files_reader
from handlers.description.terms import Consequence, Fields, Meaning
from handlers.description.vocabulary import Description
from handlers.pointers import EACH, INSIDE, every, first, steps
from handlers.text import clean
from handlers.values import immutable

PHASES: Mapping[Meaning | None, Phase] = {
    Meaning.QUEUED: Phase.QUEUED,
    Meaning.RUNNING: Phase.RUNNING,
    Meaning.SUCCEEDED: Phase.SUCCEEDED,
    Meaning.FAILED: Phase.FAILED,
    Meaning.CANCELED: Phase.CANCELED,
    Meaning.MISSING: Phase.UNKNOWN,
    None: Phase.UNKNOWN,
}
ERROR_NODES = ("/error", "/data/error", "/errors")
"""The places of an error in a message, for descriptions that name none."""
FILTERED = frozenset({Phase.SUCCEEDED, Phase.FAILED})
"""The ends that a filter's flag explains."""
RANKS = {Phase.SUCCEEDED: 1, Phase.FAILED: 2, Phase.CANCELED: 2}
"""The order of the words of several results: one that is under way, then one that is there, then none."""
BLOCKED = "the provider's filter took the result"
Find = Callable[[Any], Any]


@immutable
class Read:
    """A body as read: its update, the status word, its meaning, and whether it brings a file or a result."""

    update: Update
    word: str
    meaning: Meaning | None
    made: bool


class View:
    """The places of a job's facts in the messages of one call or of the callbacks, compiled."""

    def __init__(
        self, common: Fields, own: Fields, words: Mapping[str, Meaning], wordless: Meaning | None
    ) -> None:
        def places(name: str) -> Sequence[str]:
            return getattr(own, name) or getattr(common, name) or ()

        def token(value: object) -> str:
            if isinstance(value, str):
                return value.strip().lower()
            # A number or a flag is a word only where the provider's table has it.
            text = str(value).lower() if isinstance(value, bool | int) else ""
            return text if text in words else ""

        self.id_name = (places("id") or ("/id",))[0].rpartition("/")[2]
        self.id: Find = first(places("id"), fields.identity)
        self.word: Find = _least([every(place) for place in places("status")], token, words)
        self.progress: Find = first(places("progress"), fields.percent)
        self.results = [every(place) for place in places("result")]
        self.files = own.files and common.files
        self.only_end = own.only_end or common.only_end
        self.scale = own.scale if own.scale != 1 else common.scale
        self.without_status = own.without_status or common.without_status or wordless


class Reader:
    """A compiled description. Its methods raise `Ambiguous` for a field that was given twice."""

    def __init__(self, told: Description) -> None:
        table = told.failure
        self._fields, self._words, self._table = told.fields, told.meanings, table
        self._content = table.content
        self._files = files_reader(told.files)
        self._errors = [every(one) for one in (ERROR_NODES if table.error is None else table.error)]
        self._code: Find = first(table.code or (), fields.code)
        self._messages = [every(one) for one in table.message or ()]
        about_call = (told.ok.message or ()) if told.ok else ()
        self._about_job = [every(one) for one in table.message or () if one not in about_call]
        self._gone: Find = first(table.gone or (), fields.flag)
        self._blocked = [every(one) for one in table.blocked or ()]
        self._usage = _usage(told.usage)
        self._hidden = [steps(pointer) for pointer in told.redact]
        self._content_codes = frozenset(
            code for code, kind in told.codes.items() if kind is Consequence.CONTENT
        )
        self._fine = frozenset(told.ok.equals) if told.ok else frozenset()

    def view(self, own: Fields, wordless: Meaning | None = None) -> View:
        """Return the view of a call or of the callbacks; its own places go before the common ones.

        `wordless` is the meaning of a message without a word, where the description names none.
        """
        return View(self._fields, own, self._words, wordless)

    def read(
        self, body: dict[str, Any], message: HttpMessage, view: View, forced: Meaning | None = None
    ) -> Read:
        """Return a body as read. `forced` is the meaning of its HTTP status, where that has one."""
        word = view.word(body) or ""
        assets = self._files(body, message) if view.files else ()
        made = bool(assets) or any(find(body) for find in view.results)
        progress = view.progress(body)
        if progress is not None:
            progress = min(100.0, progress * view.scale)
        meaning = forced or self._meaning(word, view, made=made, progress=progress)
        phase = PHASES[meaning] if meaning else refusals.known(word)
        if phase is Phase.UNKNOWN and word and refusals.missing(word):
            meaning = Meaning.MISSING
        error = self._error(body)
        ended = phase in FILTERED or (phase is Phase.UNKNOWN and not word)
        if ended and self._filtered(body, made=bool(assets)):
            phase, made = Phase.FAILED, False
            failure: Failure | None = self._failed(body, error, word, blocked=True)
        elif error is not None and self._ends(phase, view, made=made):
            phase, failure = Phase.FAILED, self._failed(body, error, word)
        else:
            failure = self._failure(phase, body, error, word, made=made)
        done = phase is Phase.SUCCEEDED
        update = Update(
            provider_job_id=view.id(body),
            phase=phase,
            progress=progress,
            assets=assets if done else (),
            result=self._shown(body) if done else None,
            failure=failure,
            usage=self._usage(body),
        )
        return Read(update, word, meaning, made)

    def failed(self, body: dict[str, Any], read: Read) -> Failure | None:
        """Return the failure that an error in the answer to a submission means; None without an error."""
        error = self._error(body)
        return None if error is None else self._failed(body, error, read.word)

    def sentence(self, body: dict[str, Any]) -> str:
        """Return the sentence of a refusal: from its usual places, and from those of the description."""
        finds = (*self._messages, *self._errors)
        own = next((text for find in finds for one in find(body) if (text := said.sentence(one))), "")
        usual = said.sentence(body)
        # Both may be the same sentence, with its stop or without.
        return clean(f"{usual}; {own}") if usual and own and own.rstrip(".") not in usual else usual or own

    def _meaning(self, word: str, view: View, *, made: bool, progress: float | None) -> Meaning | None:
        if word:
            return self._words.get(word)
        # A result beside a progress of less than 100 is a preview.
        if made and progress in {None, 100.0}:
            return Meaning.SUCCEEDED
        return view.without_status

    def _error(self, body: dict[str, Any]) -> object:
        return next((one for find in self._errors for one in find(body) if said.is_error(one)), None)

    def _odd_error(self, body: dict[str, Any]) -> object:
        """Return the error beside a success without a file that stands in no place of the description."""
        found = wire.error_inside(body)
        if found is not None:
            return {"code": found[0], "message": found[1]}
        places = wire.places(body)
        if told := next(
            (text for place in places if (text := said.reason(place, names=said.FAILURES))), None
        ):
            return told
        if self._fine and (code := self._code(body)) and code not in self._fine:
            return {"code": code}
        # A message beside a success is about the call, unless it speaks of the policy.
        return next((text for place in places if refusals.policy(text := said.sentence(place))), None)

    def _filtered(self, body: dict[str, Any], *, made: bool) -> bool:
        """Return whether a filter took the result: all of several flags, or one where no file is left.

        With `blocked_keeps` only the latter.
        """
        found = [one for find in self._blocked for one in find(body)]
        flags = [one for one in found if isinstance(one, bool)]
        taken = [one for one in flags if one is self._table.blocked_is]
        if taken and len(taken) == len(flags) and not self._table.blocked_keeps:
            return True
        counted = any(isinstance(one, int) and one > 0 for one in found if not isinstance(one, bool))
        return not made and (bool(taken) or counted)

    def _ends(self, phase: Phase, view: View, *, made: bool) -> bool:
        """Return whether an error ends a job although its word means no failure."""
        if phase is Phase.SUCCEEDED:
            return view.only_end and not made
        return phase is Phase.UNKNOWN and self._table.ends

    def _failure(
        self, phase: Phase, body: dict[str, Any], error: object, word: str, *, made: bool
    ) -> Failure | None:
        if phase is Phase.SUCCEEDED and not made:
            error = error or self._odd_error(body)
        if phase is Phase.FAILED or (phase is Phase.SUCCEEDED and error is not None and not made):
            return self._failed(body, error, word)
        if phase is Phase.CANCELED:
            return said.canceled("" if self._words.get(word) is Meaning.SUCCEEDED else word)
        if phase is Phase.SUCCEEDED and self._gone(body):
            return Failure("expired", "the provider no longer has the result", FailureCode.RESULT_MISSING)
        return None

    def _failed(self, body: dict[str, Any], error: object, word: str, *, blocked: bool = False) -> Failure:
        # The provider's own word for success is no reason of a failure.
        word = "" if self._words.get(word) is Meaning.SUCCEEDED else word
        code = self._code(body)
        coded = code is not None and code not in self._fine
        # The sentence beside a code that means success is about the call and not about the job.
        finds = self._messages if coded or not self._fine else self._about_job
        told = [one for find in finds for one in find(body)]
        if not coded:
            code = said.code_of({"error": error}) or self._word_as_code(word)
        places = (error, *told, *(said.reason(place) for place in wire.places(body)))
        made = said.failure(code, *places, word=word, otherwise=BLOCKED if blocked else "generation failed")
        text = f"{code or ''} {made.message} {word}".lower()
        content = blocked or code in self._content_codes or any(part in text for part in self._content)
        if content and made.code is not FailureCode.CONTENT_POLICY:
            return Failure(made.provider_code, made.message, FailureCode.CONTENT_POLICY)
        return made

    def _word_as_code(self, word: str) -> str | None:
        """Return the status word as the code, None where it is none or means success."""
        means = refusals.known(word) is not Phase.SUCCEEDED
        return word or None if self._table.word_is_code and means else None

    def _shown(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body without the fields that the description hides."""
        for path in self._hidden:
            body = _without(body, path)
        return body


def _least(
    finds: Sequence[Callable[[Any], Sequence[Any]]],
    token: Callable[[object], str],
    words: Mapping[str, Meaning],
) -> Find:
    """Return the function that finds a status word: of several in one place, the least finished."""

    def rank(word: str) -> int:
        meaning = words.get(word)
        phase = PHASES[meaning] if meaning else refusals.known(word)
        return RANKS.get(phase, 0)

    def found(body: Any) -> str:
        for find in finds:
            told = [word for value in find(body) if (word := token(value))]
            if told:
                return told[0] if len(told) == 1 else min(told, key=rank)
        return ""

    return found


def _usage(places: str | Mapping[str, Sequence[str]]) -> Callable[[Any], dict[str, Any] | None]:
    if isinstance(places, str):
        return first((places,), fields.table) if places else lambda _body: None
    numbers = [(name, first(listed, fields.plausible)) for name, listed in places.items()]

    def found(body: Any) -> dict[str, Any] | None:
        told = {name: value for name, find in numbers if (value := find(body)) is not None}
        return told or None

    return found


def _without(value: Any, path: Sequence[str]) -> Any:
    """Return `value` without the values at `path`. Objects and lists on the way are copied."""
    name, *rest = path
    if name == INSIDE:
        return _text_without(value, rest)
    if isinstance(value, list):
        hit = [name in {EACH, str(place)} for place in range(len(value))]
        if not rest:
            return [one for one, gone in zip(value, hit, strict=True) if not gone]
        return [_without(one, rest) if found else one for one, found in zip(value, hit, strict=True)]
    if not isinstance(value, dict) or name not in value:
        return value
    if not rest:
        return {key: inner for key, inner in value.items() if key != name}
    return value | {name: _without(value[name], rest)}


def _text_without(value: Any, path: Sequence[str]) -> Any:
    """Return a text of JSON without the values at `path` in it."""
    if not isinstance(value, str):
        return _without(value, path) if path else None
    read = next(iter(every(f"/{INSIDE}")(value)), None)
    if read is None:
        return value
    return json.write(_without(read, path)).decode() if path else ""
