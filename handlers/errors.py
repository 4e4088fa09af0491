"""The errors of calls to providers and of callbacks: one class for each consequence.

The question that tells the classes apart is whether the provider may have accepted a submission, because an
accepted job costs money:

| class | accepted? | submission | poll |
|---|---|---|---|
| `Unreachable` | no: not sent whole | sent again later | sent again later |
| `Throttled` | no: too many requests | sent again later | sent again later |
| `AccountRefused` | no: key, balance or permission | waits with its account | waits with its account |
| `Rejected` | no: final | the job fails: `rejected` | a miss; `lost` after many |
| `ContentRefused` | no: content policy | the job fails: `content_policy` | the job fails: `content_policy` |
| `Redirected` | no: wrong `base_url` | the job fails: `rejected` | sent again later |
| `Unavailable` | perhaps: the provider failed | unconfirmed, not sent again by itself | sent again later |
| `Garbled` | perhaps: unreadable answer | unconfirmed, not sent again by itself | sent again later |

No message holds a secret or a body: a provider's own sentence is `ProviderError.said`, cleaned and cut. The
first paragraph of a `ProviderError` class is shown to users, see `ProviderError.meaning`.
"""

from datetime import timedelta


class ProviderError(Exception):
    """A call that brought no report about a job: an answer with an error, or no answer.

    `status` is the HTTP status if there was an answer, `retry_after` the wait that the provider asks for,
    `provider_code` its code for the error and `said` its sentence for people.
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
    """The provider could not be reached, or the request was not sent whole: nothing was accepted.

    A submission is sent again later. A connection that breaks after the whole request is `Unavailable`.
    """


class Throttled(ProviderError):
    """The provider asked for fewer requests (429): nothing was accepted.

    The request was fine and is sent again later, after `retry_after` where the provider names a wait.
    """


class Rejected(ProviderError):
    """The provider refused the request for good (4xx).

    The request itself is at fault: sending it again would not help, so a submission fails its job.
    """


class ContentRefused(Rejected):
    """The provider refused the content of the request by its policy.

    It differs from a plain `Rejected` in the job's failure code, `content_policy`, and in ending a job when a
    poll brings it.
    """


class AccountRefused(ProviderError):
    """The account cannot be used: wrong key, no credit or no plan (401, 402, 403 and their equivalents).

    The job is not at fault: it stays open, and the circuit breaker pauses the account. `certain` is true when
    the refusal is surely about the key or the balance; otherwise it may be about one job, model or operation,
    so it holds back that job alone until several jobs or operations are refused in a row.
    """

    certain = True


class Unavailable(ProviderError):
    """The provider failed (5xx, 408, a broken connection): it may have accepted the request.

    A submission leaves its job unconfirmed, because sending it again could be paid for twice.
    """


class Garbled(ProviderError):
    """The provider's answer claims success but cannot be read: it may have accepted the request.

    The same consequence as `Unavailable`; here an answer came, whole or cut.
    """


class Redirected(Garbled):
    """The provider answers from another place (3xx): the account's base_url is not the one it serves.

    A redirect is never followed, because the key must not leave the account's origin. Unlike the other kinds
    of `Garbled` it accepts nothing.
    """


class CallbackError(Exception):
    """The base class for messages to a callback URL that are not accepted."""


class BadSignature(CallbackError):
    """The proof of a callback is missing, wrong, doubled or malformed."""


class BadPayload(CallbackError):
    """The message passed its verification but cannot be read as a report about a job."""
