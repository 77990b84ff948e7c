"""Names of columns that are dates and the like, as the plain arguments that build them again."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pandas as pd

ARGUMENTS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    datetime.date: lambda day: (day.isoformat(),),
    pd.Timestamp: lambda moment: (
        moment.isoformat(),
        None if moment.tz is None else str(moment.tz),
        moment.unit,
    ),
    pd.Timedelta: lambda duration: (duration.isoformat(), duration.unit),
    pd.Period: lambda period: (str(period), period.freqstr),
    pd.Interval: lambda interval: (interval.left, interval.right, interval.closed),
}


def _moment(text: str, zone: str | None, unit: Any) -> pd.Timestamp:
    moment = pd.Timestamp(text).as_unit(unit)
    return moment if zone is None else moment.tz_convert(zone)


BUILD: dict[str, Callable[..., Any]] = {
    "date": datetime.date.fromisoformat,
    "Timestamp": _moment,
    "Timedelta": lambda text, unit: pd.Timedelta(text).as_unit(unit),
    "Period": pd.Period,
    "Interval": pd.Interval,
}
