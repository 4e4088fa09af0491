"""The public keys that verify `v1a` signatures, as a JSON Web Key Set."""

import base64

from starlette.responses import Response

from receiver.api.guard import RequestContext, answer
from receiver.security.signing import base64url

PUBLIC_KEY = "whpk_"
"""The prefix of a public key in the form of Standard Webhooks."""
CACHED = {"cache-control": "public, max-age=300"}
"""Short, so that a receiver learns of a new key before the old one is removed."""


async def show(context: RequestContext) -> Response:
    """Show the public keys of this deployment. Each verifies one of the `v1a` signatures of a delivery."""
    keys = [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "use": "sig",
            "kid": kid,
            "x": base64url(public),
            "public_key": PUBLIC_KEY + base64.b64encode(public).decode(),
        }
        for kid, public in context.services.public_keys.items()
    ]
    return answer({"keys": keys}, headers=CACHED)
