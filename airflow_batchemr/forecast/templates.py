"""Render templates as far as possible without Airflow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from airflow_batchemr.core.service_models import with_numbers
from airflow_batchemr.pipeline_file.models import Array, Batch, Emr, Fleet, Group
from airflow_batchemr.pipeline_file.models.base import is_template, templated_keys

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

#: Options that are numbers or a release after rendering.
_TYPED = frozenset({"array"}.union(*map(templated_keys, (Array, Batch, Emr, Group, Fleet))))
#: Blocks that contain such options, as arguments and within them.
_BLOCKS = frozenset({"array", "cluster", "master", "core", "task", "fleets"})
#: Options in AWS's own form, which may contain numbers.
_RAW = {
    "submit": ("batch", "SubmitJob"),
    "job_definition": ("batch", "RegisterJobDefinition"),
    "overrides": ("emr", "RunJobFlow"),
}


class Templates:
    """Renders templates that only use the date and the params of a run. Other templates are not changed.

    Args:
        date: Logical date of the run; None for a run without one.
        run_id: Airflow's run_id.
        params: Defaults of the params; those without one are not known.
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


def without_unknown(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Remove the options that must be numbers or a release, but are templates that only Airflow can render.

    Args:
        kwargs: Arguments of an operator, rendered by `Templates`.

    Returns:
        The other arguments, and the templates by the name of the option, such as `array` or `cluster.instances`.
    """
    unknown: dict[str, str] = {}

    def known(values: Mapping[str, Any], at: str) -> dict[str, Any]:
        made = {}
        for name, value in values.items():
            if isinstance(value, dict) and name in _BLOCKS:
                made[name] = known(value, f"{at}{name}.")
            elif isinstance(value, dict) and name in _RAW:
                found: list[str] = []
                made[name] = with_numbers(*_RAW[name], value, partial(_without_template, found))
                if found:
                    unknown[f"{at}{name}"] = ", ".join(found)
            elif name in _TYPED and any(map(is_template, value if isinstance(value, list) else [value])):
                unknown[f"{at}{name}"] = value if isinstance(value, str) else ", ".join(map(str, value))
            else:
                made[name] = value
        return made

    return known(kwargs, ""), unknown


def _without_template(found: list[str], text: str) -> str | None:
    if not is_template(text):
        return text
    found.append(text)
    return None


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
