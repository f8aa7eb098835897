"""Days in China: dates on documents, and working days. Pure.

A document says dates, not instants. It is valid from the beginning of its
first day to the end of its last, in Chinese time; stored validity is
`[start, end)`.
"""

from collections.abc import Container
from datetime import date, datetime, timedelta

from kernel.clock import china_midnight

_ONE = timedelta(days=1)


def ends(day: date) -> datetime:
    """The first instant after a day in China: the exclusive end of what is valid that day."""
    return china_midnight(day + _ONE)


def is_working_day(day: date, holidays: Container[date], extra: Container[date]) -> bool:
    """Monday to Friday without `holidays`, and the shifted days in `extra`."""
    return day in extra or (day.weekday() < 5 and day not in holidays)


def add_working_days(
    start: date, count: int, holidays: Container[date], extra: Container[date]
) -> date:
    """The `count`-th working day after `start`, which itself does not count (民法典 201)."""
    day = start
    while count > 0:
        day += _ONE
        count -= is_working_day(day, holidays, extra)
    return day


def add_years(day: date, years: int) -> date:
    """The same day `years` later; 29 February becomes 1 March where it does not exist."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)
