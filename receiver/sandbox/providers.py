"""The simulated providers by name: written by hand, or made out of a description."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import handlers
from handlers import DESCRIBED, json
from handlers.captures import ACCOUNT_SECRET
from handlers.description import loading, making
from handlers.description.vocabulary import Description
from receiver.sandbox.described import CAUSES, Dialect
from receiver.sandbox.signing import proof_of
from receiver.sandbox.speakers import SPOKEN, Refusal, Speaker
from receiver.sandbox.world import Made, Message, Says

KEY_SET = ".well-known/jwks.json"
"""The path of the sandbox's public keys below each provider."""


class Speakers(Mapping[str, Speaker]):
    """The speakers by the names of the handlers. Each is made at its first use."""

    def __init__(self) -> None:
        self._made: dict[str, Speaker] = dict(SPOKEN)

    def __getitem__(self, name: str) -> Speaker:
        """Return a speaker. Raises `KeyError` for an unknown name."""
        if name not in self._made:
            if name not in handlers.ALL:
                raise KeyError(name)
            self._made[name] = speaker_in(DESCRIBED / f"{name}.toml")
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of all providers."""
        return iter(handlers.ALL)

    def __len__(self) -> int:
        """Return the number of providers."""
        return len(handlers.ALL)


SPEAKERS = Speakers()
"""The simulated providers by name."""


def account_settings(name: str, base_url: str) -> dict[str, Any]:
    """Return the settings that an account at a simulated provider needs besides its key and `base_url`."""
    return settings_of(loading.load(DESCRIBED / f"{name}.toml").told, base_url)


def settings_of(told: Description, base_url: str) -> dict[str, Any]:
    """Return the settings with which an account proves the callbacks of a described provider."""
    found: dict[str, Any] = {
        name: ACCOUNT_SECRET for name, setting in told.settings.items() if setting.kind == "secret"
    }
    return found | ({"keys_url": f"{base_url}/{KEY_SET}"} if "keys_url" in told.settings else {})


def speaker_in(path: Path) -> Speaker:
    """Return the speaker of the description in a file. Raises `BadDescription`."""
    return speaker_of(loading.load(path).told)


def speaker_of(told: Description) -> Speaker:
    """Return the speaker of a description."""
    operations = making.handler(told).operations
    dialect = Dialect(told, {one.path.lstrip("/"): one.kind for one in operations.values()})
    return Speaker(
        name=told.name,
        submitted=dialect.submitted,
        polled=lambda made, phase, progress: dialect.told_of("poll", made, phase, progress),
        refusals={cause: Refusal(*dialect.refusal(cause)) for cause in CAUSES},
        says=_says(told, dialect),
        callback_place=told.submit.callback or "body:/webhook_url",
        secret_place=told.submit.secret or "body:/webhook_secret",
        dialect=dialect,
    )


def _says(told: Description, dialect: Dialect) -> Says | None:
    rule = told.callback
    if rule is None:
        return None
    proof = rule.proof

    def says(made: Made, phase: str, progress: int, forged: bool) -> Message | None:
        said = dialect.said(made, phase, progress)
        if said is None:
            return None
        body = json.write(said)
        return Message(body, proof_of(proof, made, body, forged=forged))

    return says
