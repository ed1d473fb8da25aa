"""Render templates as far as possible without Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

if TYPE_CHECKING:
    import datetime as dt


class Templates:
    """Renders templates that only use the date and the params of a run. Other templates are not changed.

    Args:
        date: Logical date of the run; None for a run without one.
        run_id: Airflow's run_id.
        params: Params of the pipeline, with their defaults.
    """

    def __init__(self, date: dt.datetime | None, run_id: str, params: dict[str, Any]) -> None:
        self.unknown: set[str] = set()
        self._environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
        self._environment.filters.update(_FILTERS)
        self._names: dict[str, Any] = {"run_id": run_id, "params": params, **_dates(date)}

    def fill(self, value: Any) -> Any:
        """Render all text in a plain value."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return value

    def _text(self, text: str) -> str:
        if "{{" not in text and "{%" not in text:
            return text
        try:
            return self._environment.from_string(text).render(self._names)
        except (TemplateError, TypeError, ValueError, AttributeError):
            self.unknown.add(text)
            return text


def _dates(date: dt.datetime | None) -> dict[str, Any]:
    if date is None:
        return {}
    return {
        "logical_date": date,
        "data_interval_start": date,
        "data_interval_end": date,
        "ds": _ds(date),
        "ds_nodash": _ds(date).replace("-", ""),
        "ts": date.isoformat(),
        "ts_nodash": f"{date:%Y%m%dT%H%M%S}",
        "ts_nodash_with_tz": f"{date:%Y%m%dT%H%M%S%z}",
    }


def _ds(date: dt.datetime) -> str:
    return f"{date:%Y-%m-%d}"


#: Airflow's own filters for dates (airflow/sdk/definitions/_internal/templater.py).
_FILTERS: dict[str, Any] = {
    "ds": _ds,
    "ds_nodash": lambda date: f"{date:%Y%m%d}",
    "ts": lambda date: date.isoformat(),
    "ts_nodash": lambda date: f"{date:%Y%m%dT%H%M%S}",
    "ts_nodash_with_tz": lambda date: date.isoformat().replace("-", "").replace(":", ""),
}
