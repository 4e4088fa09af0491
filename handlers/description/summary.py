"""Summaries of providers for people: a row of the table of providers, and the facts behind it."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from handlers.contract import Facts, Handler, Provider
from handlers.description.callbacks import ProofScheme
from handlers.description.vocabulary import Description, Rule

COLUMNS = ("handler", "provider", "callbacks", "poll", "files", "sure", "checked")
SETTING_COLUMNS = ("handler", "setting", "default", "meaning")
PROOFS = {
    ProofScheme.NONE: "unsigned, confirmed by a poll",
    ProofScheme.SECRET: "a secret in `{header}`",
    ProofScheme.HMAC: "HMAC in `{header}`",
    ProofScheme.STANDARD_WEBHOOKS: "Standard Webhooks",
    ProofScheme.ED25519_JWKS: "Ed25519 in `{header}`, with a key set",
    ProofScheme.JWT: "JSON Web Token in `{header}`, with a key set",
    ProofScheme.HEADERS: "unpublished: candidate headers",
}
"""The ways in which callbacks prove themselves, in a few words."""


def row(provider: Provider, handler: Handler) -> tuple[str, ...]:
    """Return the row of a provider, by `COLUMNS`."""
    facts = provider.facts
    return (
        f"`{provider.name}`",
        facts.title,
        facts.proof,
        _asked(handler),
        facts.files,
        _sure(facts.confidence.items()),
        facts.checked.isoformat(),
    )


def settings(provider: Provider) -> Iterable[tuple[str, ...]]:
    """Yield a row for each setting that an account of the provider takes, by `SETTING_COLUMNS`."""
    for name, field in provider.options.model_fields.items():
        default = field.default
        shown = "none" if default is None else f"`{default if isinstance(default, str) else list(default)}`"
        yield f"`{provider.name}`", f"`{name}`", shown.replace("'", '"'), field.description or ""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(one.replace('|', chr(92) + '|') for one in line)} |\n" for line in lines)


def facts_of(told: Description) -> Facts:
    """Return the knowledge behind a description."""
    return Facts(
        title=told.title or told.name,
        sources=told.sources,
        checked=told.checked,
        confidence=told.confidence,
        proof=_proof(told),
        files=_files(told),
        rules=tuple(_rule(one) for one in told.rules),
    )


def _proof(told: Description) -> str:
    """Return how callbacks prove themselves, in a few words."""
    rule = told.callback
    if rule is None:
        return "none"
    said = PROOFS[rule.proof.scheme].format(header=rule.proof.header)
    if not rule.proof.covers_body:
        said += "; the body is not covered, so a poll confirms"
    if all(not group.callback for group in told.operations):
        said += "; of the account, for a source"
    return f"{said}, with `webhook_secret`" if rule.proof.optional else said


def _files(told: Description) -> str:
    """Return how long files are there, in a few words."""
    lives = {_words(group.life) for group in told.files if group.life}
    links = {_words(group.link_life) for group in told.files if group.link_life}
    said = [f"kept {' or '.join(sorted(lives))}"] if lives else []
    said += [f"links end after {' or '.join(sorted(links))}"] if links else []
    said += ["links by the key"] if any(group.source for group in told.files) else []
    return ", ".join(said) or ("links" if told.files else "in the result")


def _words(span: timedelta) -> str:
    hours, minutes = divmod(int(span.total_seconds()) // 60, 60)
    if hours >= 48:
        return f"{hours // 24} d"
    return f"{hours} h" if hours else f"{minutes} min"


def _rule(rule: Rule) -> str:
    """Return a rule of inputs in a few words."""
    whom = f"{rule.operations}: " if rule.operations else ""
    where = f"{rule.at}: " if rule.at else ""
    parts = [
        *(f"{name} is {kind}" for kind, names in rule.types.items() for name in names.split()),
        *(f"{name} is needed" for name in rule.required),
        *([f"one of {', '.join(rule.any_of)}"] if rule.any_of else []),
        *([f"exactly one of {', '.join(rule.one_of)}"] if rule.one_of else []),
        *(f"{name} has at most {most} characters" for name, most in rule.longest.items()),
        *(f"{name} is one of {', '.join(map(str, values))}" for name, values in rule.known.items()),
        *(f"{one} needs {other}" for one, other in rule.needs.items()),
        *(f"{one} excludes {other}" for one, other in rule.excludes.items()),
    ]
    said = rule.say or "; ".join(parts)
    return f"{whom}{where}{said}{' (a warning)' if rule.warning else ''}"


def _asked(handler: Handler) -> str:
    calls = [
        name
        for name, there in (
            ("poll", handler.poll is not None),
            ("cancel", handler.cancel is not None),
            ("submits again safely", handler.idempotent_submit),
        )
        if there
    ]
    return ", ".join(calls) or "none"


def _sure(confidence: Iterable[tuple[str, str]]) -> str:
    """Return how sure the facts are: all of them, then those that differ."""
    told = {str(fact): sure for fact, sure in confidence}
    whole = told.pop("all")
    return "; ".join([whole, *(f"{fact}: {sure}" for fact, sure in told.items())])
