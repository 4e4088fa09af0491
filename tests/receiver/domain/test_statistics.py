"""The statistics as data: buckets, sums of samples, and quantiles."""

import itertools

import pytest

from receiver.domain.statistics import GRAINS, KEPT, LABELS, SERIES, quantile, summed

BOUNDS = (1.0, 2.0, 5.0)


def test_a_value_falls_into_the_first_bucket_that_holds_it() -> None:
    series = SERIES["job_duration_seconds"]
    assert [series.bucket(one) for one in (0.0, 1.0, 1.1, 7200.0, 7201.0)] == [0, 0, 1, 13, 14]
    assert SERIES["jobs"].bucket(None) == -1


def test_samples_add_up_by_series_labels_and_bucket() -> None:
    samples = [
        ("events", ("job.failed",), None),
        ("events", ("job.failed",), None),
        ("events", ("job.succeeded",), None),
        ("delivery_attempt_seconds", ("ep_1",), 0.004),
        ("delivery_attempt_seconds", ("ep_1",), 0.005),
        ("delivery_attempt_seconds", ("ep_1",), 31.0),
    ]
    assert summed(samples) == {
        ("events", ("job.failed",), -1): (2, 0.0),
        ("events", ("job.succeeded",), -1): (1, 0.0),
        ("delivery_attempt_seconds", ("ep_1",), 0): (2, pytest.approx(0.009)),
        ("delivery_attempt_seconds", ("ep_1",), 13): (1, 31.0),
    }


@pytest.mark.parametrize(
    ("counts", "share", "value"),
    [
        ({}, 0.5, None),
        ({0: 4}, 0.5, 0.5),
        ({0: 1, 1: 1}, 0.5, 1.0),
        ({0: 1, 1: 1}, 0.75, 1.5),
        ({1: 10, 2: 10}, 0.95, 4.7),
        ({3: 1}, 0.5, 5.0),
        ({0: 1, 3: 99}, 0.95, 5.0),
    ],
)
def test_a_quantile_lies_between_the_bounds_of_its_bucket(
    counts: dict[int, int], share: float, value: float | None
) -> None:
    assert quantile(BOUNDS, counts, share) == (None if value is None else pytest.approx(value))


def test_every_series_fits_its_table() -> None:
    assert set(KEPT) == set(GRAINS)
    assert all(coarse % fine == 0 for fine, coarse in itertools.pairwise(GRAINS))
    for name, series in SERIES.items():
        assert len(set(series.labels)) == len(series.labels) <= LABELS, name
        assert list(series.buckets) == sorted(set(series.buckets)), name
