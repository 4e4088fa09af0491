"""Redaction of configured secrets: a provider's message may echo any of them anywhere. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from handlers.contract import Asset, Failure, FailureCode, Phase, Update

REDACTED = "[redacted]"
DROPPED = "a file's link holds a secret of ours, so the file is left out"
_QUOTED = re.compile(r"[^A-Za-z0-9_.~-]")
"""A character that a link spells in another way (percent-encoded); most secrets have none."""
UNNAMED = "the provider's id holds a secret of ours, so it is left out"


def forms(secrets: Sequence[str]) -> list[str]:
    """Return every spelling of the secrets that a link or a text may hold, the longest first."""
    # The longest first: where one secret is part of another, replacing the shorter one would leave the rest.
    found = set(filter(None, secrets))
    found |= {quote(secret, safe="") for secret in found if _QUOTED.search(secret)}
    return sorted(found, key=len, reverse=True)


def hide(value: Any, secrets: Sequence[str]) -> Any:
    """Return `value` (JSON) with each of the secrets replaced, in object keys too."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, Mapping):
        return {hide(name, secrets): hide(inner, secrets) for name, inner in value.items()}
    if isinstance(value, list):
        return [hide(inner, secrets) for inner in value]
    return value


def holds(text: str | None, secrets: Sequence[str]) -> bool:
    """Return whether a text contains one of the secrets."""
    return text is not None and any(secret in text for secret in secrets)


def redacted(update: Update, secrets: Sequence[str]) -> tuple[Update, str | None]:
    """Return `update` without the secrets, and a note about the parts that were left out, or None.

    A file is left out when its link contains a secret: the link would be useless without the secret.
    """
    assets = tuple(_plain(asset, secrets) for asset in update.assets if not _tells(asset, secrets))
    left_out = DROPPED if len(assets) < len(update.assets) else None
    unnamed = holds(update.provider_job_id, secrets)
    failure = update.failure
    if failure is not None:
        code = hide(failure.provider_code, secrets)
        failure = Failure(code, hide(failure.message, secrets), failure.code)
    # A success that lost all its files fails at once: without a failure it would be polled for a file again.
    elif left_out and not assets and update.phase is Phase.SUCCEEDED:
        failure = Failure(None, DROPPED, FailureCode.RESULT_MISSING)
    plain = replace(
        update,
        provider_job_id=None if unnamed else update.provider_job_id,
        assets=assets,
        result=hide(update.result, secrets),
        usage=hide(update.usage, secrets),
        failure=failure,
    )
    notes = [note for note in (left_out, UNNAMED if unnamed else None) if note]
    return plain, "; ".join(notes) or None


def _tells(asset: Asset, secrets: Sequence[str]) -> bool:
    return holds(asset.url, secrets) or holds(asset.source, secrets)


def _plain(asset: Asset, secrets: Sequence[str]) -> Asset:
    return replace(asset, mime_type=hide(asset.mime_type, secrets)) if asset.mime_type else asset
