"""Encryption of stored endpoints: secrets and headers are encrypted under the newest master key."""

from collections.abc import Mapping, Sequence
from typing import Any

from handlers import json
from handlers.values import immutable
from receiver.domain.errors import Conflict
from receiver.domain.model import Endpoint
from receiver.security.tokens import BadToken, MasterKeys
from receiver.store.rows import endpoint_row, read_endpoint

UNREADABLE = "its secret is encrypted under a master key that is not configured"


@immutable
class EndpointSealer:
    """Encrypts endpoints to rows and decrypts rows to endpoints."""

    master_keys: MasterKeys

    def open(self, row: Any) -> Endpoint:
        """Return a stored endpoint, without secrets and headers if they cannot be decrypted."""
        try:
            headers, secrets = self.unseal(row)
        except BadToken:
            headers, secrets = {}, ()
        return read_endpoint(row, headers, secrets)

    def unseal(self, row: Any) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return the headers and secrets of a row. Raises `BadToken` when their master key is unknown."""
        secrets = json.read(self.master_keys.unseal(row["secrets"], row["id"]).encode())
        sealed = row["headers"]
        headers = json.read_object(self.master_keys.unseal(sealed, row["id"]).encode()) if sealed else {}
        return headers, tuple(secrets)

    def seal(
        self, endpoint_id: str, headers: Mapping[str, str], secrets: Sequence[str]
    ) -> tuple[bytes | None, bytes]:
        """Return headers (None if empty) and secrets, encrypted for one endpoint."""
        sealed = self.master_keys.seal(json.write(dict(headers)).decode(), endpoint_id) if headers else None
        return sealed, self.master_keys.seal(json.write(list(secrets)).decode(), endpoint_id)

    def row(self, endpoint: Endpoint) -> tuple[Any, ...]:
        """Return the row of an endpoint, with secrets and headers encrypted."""
        return endpoint_row(endpoint, *self.seal(endpoint.id, endpoint.headers, endpoint.secrets))

    def changed_row(self, endpoint: Endpoint, row: Any) -> tuple[Any, ...]:
        """Return the row of a changed endpoint. Unchanged headers and secrets keep their stored values.

        Both are encrypted anew when either changes. Raises `Conflict` when that is necessary and the stored
        values cannot be decrypted.
        """
        stored = self.open(row)
        if (endpoint.headers, endpoint.secrets) == (stored.headers, stored.secrets):
            return endpoint_row(endpoint, row["headers"], row["secrets"])
        # `open` returns no secrets if they cannot be decrypted; encrypting that result would lose them.
        if not stored.secrets:
            raise Conflict(f"the endpoint's headers cannot be changed now: {UNREADABLE}")
        return self.row(endpoint)
