"""Settings of sources for the tests."""

from typing import Any

from receiver.config.sources import SourceSettings

SECRET = "sources-secret"


def source(
    scheme: str = "hmac-sha256", *, proof: dict[str, Any] | None = None, **others: Any
) -> SourceSettings:
    """Return the settings of a source with this scheme."""
    needs: dict[str, dict[str, Any]] = {
        "hmac-sha256": {"header": "x-signature", "secrets": [SECRET]},
        "none": {"insecure": True},
        "ed25519-jwks": {"jwks_url": "https://keys.example/jwks.json"},
    }
    made = {"scheme": scheme, **needs.get(scheme, {"secrets": [SECRET]}), **(proof or {})}
    return SourceSettings.model_validate({"name": "shop", "proof": made, **others})
