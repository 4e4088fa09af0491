"""Job tokens: each reads one job for a while, so that a browser can follow it without an API key."""

from datetime import datetime, timedelta

from handlers.values import immutable
from receiver.domain.clock import Clock
from receiver.domain.errors import no_such
from receiver.security.tokens import BadToken, MasterKeys
from receiver.store import Store
from receiver.store.job_states import state_of


@immutable
class JobTokens:
    """The job tokens of a deployment. They are signed, not stored."""

    store: Store
    master_keys: MasterKeys
    clock: Clock

    async def issue(self, job_id: str, seconds: int) -> tuple[str, datetime]:
        """Return a token for a job, and the moment at which it ends. Raises `NotFound` without the job."""
        if await self.store.read(state_of(job_id)) is None:
            raise no_such("job")
        # A token tells whole seconds.
        ends = self.clock.now().replace(microsecond=0) + timedelta(seconds=seconds)
        return self.master_keys.job_token(job_id, ends), ends

    def job_of(self, token: str) -> str:
        """Return the id of the job that a token reads. Raises `BadToken` for a token that is over."""
        claims = self.master_keys.read_job_token(token)
        if claims.expires_at <= self.clock.now():
            raise BadToken
        return claims.job_id
