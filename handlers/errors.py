"""What can go wrong between a provider and us; each class is a name, a sentence and its data.

No message here ever holds a secret or a body: what a provider said is `ProviderError.said`, cleaned and cut.
"""

from datetime import timedelta


class ProviderError(Exception):
    """A provider's answer, or its silence, that is no news about a job.

    `status` is the HTTP status when there was an answer, `retry_after` the provider's own wish,
    `provider_code` its word for what happened and `said` its sentence, for people.
    """

    def __init__(
        self,
        said: str = "",
        *,
        status: int | None = None,
        retry_after: timedelta | None = None,
        provider_code: str | None = None,
    ) -> None:
        super().__init__(said or self.meaning())
        self.said = said
        self.status = status
        self.retry_after = retry_after
        self.provider_code = provider_code

    @classmethod
    def meaning(cls) -> str:
        """Return the sentence of the class for people: its first paragraph, on one line."""
        return " ".join((cls.__doc__ or cls.__name__).split("\n\n")[0].split())


class Unreachable(ProviderError):
    """The provider could not be reached, or the request did not leave us whole: nothing was accepted."""


class Throttled(ProviderError):
    """The provider asked us to slow down (429): nothing was accepted."""


class Rejected(ProviderError):
    """The provider refused the request for good (4xx)."""


class ContentRefused(Rejected):
    """The provider refused the content of the request by its policy."""


class AccountRefused(ProviderError):
    """The account cannot be used: wrong key, no credit or no plan (401, 402, 403 and their equivalents).

    `certain` tells that the provider speaks of the key or the balance; without it, the refusal may be about
    one job, model or operation as well.
    """

    certain = True


class Unavailable(ProviderError):
    """The provider failed (5xx, 408, a broken connection): it may have accepted the request."""


class Garbled(ProviderError):
    """The provider's answer claims success but cannot be read: it may have accepted the request."""


class Redirected(Garbled):
    """The provider answers from another place (3xx): the account's base_url is not the one it serves."""


class CallbackError(Exception):
    """A message sent to a callback URL that we do not take."""


class BadSignature(CallbackError):
    """The proof is missing, wrong, doubled or malformed."""


class UnknownKey(CallbackError):
    """The proof names a key that is not in the key set we have: fetch the set once and verify again."""


class BadPayload(CallbackError):
    """The message is authentic but cannot be read as news about a job."""
