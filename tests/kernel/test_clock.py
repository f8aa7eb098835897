"""Times: one text form, whole milliseconds, and the calendar of China."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.clock import (
    FixedClock,
    SystemClock,
    china_date,
    china_midnight,
    parse_date,
    parse_time,
    time_text,
    to_millis,
)

zones = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.builds(
    lambda naive, zone: naive.replace(tzinfo=UTC).astimezone(zone),
    st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - zone added above
    zones,
)


@given(times)
def test_the_text_of_a_time_reads_back_to_the_same_millisecond(value):
    text = time_text(value)
    assert parse_time(text) == to_millis(value)
    assert timedelta(0) <= value - parse_time(text) < timedelta(milliseconds=1)


@given(times, times)
def test_text_order_is_time_order(one, other):
    assert (time_text(one) < time_text(other)) is (to_millis(one) < to_millis(other))


@given(times)
def test_years_have_four_digits_and_the_text_a_fixed_width(value):
    assert len(time_text(value)) == 24


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T04:20:21Z",
        "2026-11-24T04:20:21.123+00:00",
        "2026-11-24T04:20:21.1234Z",
        "2026-11-24 04:20:21.123Z",
        "2026-13-24T04:20:21.123Z",
        "2026-11-24T24:20:21.123Z",
        "2026-11-24T04:20:21.123Z\n",
        "２026-11-24T04:20:21.123Z",
        "",
    ],
)
def test_other_forms_of_times_are_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - any refusal will do
        parse_time(text)


@pytest.mark.parametrize("text", ["2026-2-9", "2026-02-30", "20260209", "２026-02-09", ""])
def test_other_forms_of_dates_are_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - any refusal will do
        parse_date(text)
    assert parse_date("2028-02-29") == date(2028, 2, 29)


def test_a_time_without_a_zone_is_refused():
    naive = datetime(2026, 11, 24)  # noqa: DTZ001 - meant
    for call in (to_millis, time_text, FixedClock):
        with pytest.raises(ValueError, match="time zone"):
            call(naive)


def test_clocks_tell_whole_milliseconds_in_utc():
    system = SystemClock().now()
    assert system.tzinfo is UTC
    assert system.microsecond % 1000 == 0
    fixed = FixedClock(datetime(2026, 11, 24, 12, 0, 0, 123456, timezone(timedelta(hours=8))))
    assert fixed.now() == datetime(2026, 11, 24, 4, 0, 0, 123000, UTC)
    fixed.set(fixed.now() + timedelta(microseconds=1999))
    assert fixed.now() == datetime(2026, 11, 24, 4, 0, 0, 124000, UTC)


def test_the_day_in_china_begins_at_sixteen_hours_utc():
    midnight = datetime(2026, 11, 23, 16, 0, tzinfo=UTC)
    assert china_midnight(date(2026, 11, 24)) == midnight
    assert china_date(midnight) == date(2026, 11, 24)
    assert china_date(midnight - timedelta(milliseconds=1)) == date(2026, 11, 23)


@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)))
def test_a_day_in_china_has_twenty_four_hours(day):
    assert china_midnight(day + timedelta(days=1)) - china_midnight(day) == timedelta(hours=24)
    assert china_date(china_midnight(day)) == day
