"""The events that a reader of the feed selects."""

from collections.abc import Sequence

from handlers.values import immutable


@immutable(kw_only=True)
class Selection:
    """All events, those of a type or pattern, those of a job, or those of both."""

    type: str | None = None
    job_id: str | None = None

    @property
    def key(self) -> str:
        """Return the one of `keys_of` that each selected event has."""
        return self.job_id or self.type or "*"

    @property
    def types(self) -> Sequence[str]:
        """Return the selected type, if it is no pattern."""
        # `*` alone is no filter: it matches every type.
        return [self.type] if self.type and not self.type.endswith("*") else []

    @property
    def prefixes(self) -> Sequence[str]:
        """Return the prefix of the selected types, if there is one."""
        return [self.type[:-1]] if self.type and self.type.endswith(".*") else []

    def takes(self, event_type: str, job_id: str | None) -> bool:
        """Return whether an event of this type and job is selected."""
        if self.job_id is not None and job_id != self.job_id:
            return False
        exact, prefixes = self.types, self.prefixes
        return not (exact or prefixes) or event_type in exact or any(map(event_type.startswith, prefixes))


def keys_of(event_type: str, job_id: str | None) -> list[str]:
    """Return the keys of an event: `*`, its type, the patterns that include it, and its job."""
    parts = event_type.split(".")
    patterns = [".".join([*parts[:count], "*"]) for count in range(1, len(parts))]
    return ["*", event_type, *patterns, *([job_id] if job_id else [])]
