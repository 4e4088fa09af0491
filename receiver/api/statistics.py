"""Statistics over HTTP."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from starlette.responses import Response

from receiver.api.guard import RequestContext, answer
from receiver.api.requests import Count, QueryModel, When
from receiver.api.responses import Moment, ResponseModel
from receiver.domain.errors import invalid
from receiver.domain.rendering import stamp
from receiver.domain.statistics import KEPT, SERIES
from receiver.metrics.statistics import HOUR, POINTS, STANDING, StatisticsQuery, aligned, kept_for, step_of

NAMES = (*SERIES, *STANDING)
LONGEST = timedelta(seconds=max(KEPT.values()))
"""The time for which any counts are kept."""


def _known(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"must be one of {', '.join(NAMES)}")
    return name


MetricName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(NAMES)})]


class StatsQuery(QueryModel):
    """The statistic, the labels by which it is split, and its time."""

    metric: MetricName = Field(description="the name of the statistic")
    by: str = Field(
        default="", max_length=100, description="labels to tell apart, separated by commas; default: none"
    )
    endpoint: str | None = Field(
        default=None, max_length=100, description="only this endpoint, where the statistic has that label"
    )
    since: When | None = Field(
        default=None, description="RFC 3339 with an offset; default: an hour before `until`"
    )
    until: When | None = Field(default=None, description="RFC 3339 with an offset; default: now")
    step: Count | None = Field(
        default=None,
        ge=60,
        le=604_800,
        multiple_of=60,
        description="seconds between two points, a multiple of 60; default: by the time",
    )


class StatsPoint(ResponseModel):
    """The count of one step, and the sum of its values in seconds where the statistic has them."""

    at: Moment
    count: int
    sum: float | None = None


class StatsBucket(ResponseModel):
    """The number of values up to a bound in seconds and above the bound before it; null: above all bounds."""

    le: float | None
    count: int


class StatsSeries(ResponseModel):
    """The statistic for one combination of labels.

    One over time has a count and points, and quantiles where it has values. One of now has a value.
    """

    labels: dict[str, str]
    value: float | None = None
    count: int | None = None
    sum: float | None = None
    p50: float | None = None
    p95: float | None = None
    buckets: list[StatsBucket] | None = None
    points: list[StatsPoint] | None = None


class StatsResponse(ResponseModel):
    """A statistic: at most 200 series, those with the largest counts. Steps without a count have no point.

    `since` and `until` are the borders of the steps that are counted.
    """

    object: Literal["stats"]
    metric: str
    meaning: str
    by: list[str]
    since: Moment
    until: Moment
    step: int
    data: list[StatsSeries]


MEANINGS = {
    "jobs_open": "jobs that have not ended, now",
    "deliveries_owed": "deliveries that are still to be made, now",
    "delivery_oldest_due_seconds": "age of the oldest delivery that is past due, now",
    "endpoint_state": "endpoints by their state, now",
    "replicas": "replicas that serve the database, now",
}
"""The meanings of the statistics of now."""


async def show(context: RequestContext) -> Response:
    """Show a statistic over time, or as it stands now."""
    query: StatsQuery = context.query
    wanted = _checked(query, context.services.clock.now())
    series = SERIES.get(query.metric)
    told: dict[str, Any] = {
        "object": "stats",
        "metric": query.metric,
        "meaning": series.meaning if series else MEANINGS[query.metric],
        "by": list(wanted.by),
        "since": stamp(wanted.since),
        "until": stamp(wanted.until),
        "step": wanted.step,
        "data": await context.services.statistics.series(wanted),
    }
    return answer(told)


def _checked(query: StatsQuery, now: datetime) -> StatisticsQuery:
    """Return the question of a query. Raises `Invalid`."""
    series = SERIES.get(query.metric)
    labels = series.labels if series else STANDING[query.metric]
    by = tuple(dict.fromkeys(name.strip() for name in query.by.split(",") if name.strip()))
    only = {} if query.endpoint is None else {"endpoint": query.endpoint}
    for name, place in (*((name, "by") for name in by), *((name, name) for name in only)):
        if name not in labels:
            known = ", ".join(labels) or "none"
            raise invalid(place, f"{query.metric} has no label {name!r}; its labels: {known}", place="query")
    until = query.until or now
    since = query.since or until - HOUR
    if since >= until:
        raise invalid("since", "must be before until", place="query")
    # A statistic of now has no time.
    if series and now - since > LONGEST:
        raise invalid(
            "since", f"must be less than {LONGEST.days} days ago: for so long counts are kept", place="query"
        )
    step = query.step or step_of(since, until, now)
    if series and (until - since).total_seconds() / step > POINTS:
        raise invalid("step", f"gives more than {POINTS} points; choose a longer one", place="query")
    if series and (now - since).total_seconds() > kept_for(step):
        days = kept_for(step) // 86_400
        raise invalid(
            "step", f"its intervals are kept for {days} days; choose a multiple of 600 or 3600", place="query"
        )
    since, until = aligned(since, until, step)
    return StatisticsQuery(metric=query.metric, by=by, since=since, until=until, step=step, only=only)
