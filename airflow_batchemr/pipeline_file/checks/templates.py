"""Checks of Airflow templates: Jinja's syntax, and the names of filters and tests.

What an expression yields is only known when the task runs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.errors import guess
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jinja2 import Environment

    from airflow_batchemr.pipeline_file.validation import Keys

#: Keys of a job whose values the operators render.
JOB_VALUES = (
    *("batch", "array", "emr", "spark", "steps", "load", "save", "on", "env", "execution_role"),
    *("aws_conn_id", "region"),
)
#: Keys of a pipeline whose values the operators render.
PIPELINE_VALUES = ("state", "clusters", "aws_conn_id", "region")
#: Filters that Airflow adds to those of Jinja (airflow/sdk/definitions/_internal/templater.py).
AIRFLOW_FILTERS = ("ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz")
_MARKS = ("{{", "{%", "{#")


def templates(data: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[Problem]:
    """Check the templates of a job or pipeline.

    Args:
        data: the values as written, with variables substituted.
        keys: keys of the values that are rendered.
    """
    for key in keys:
        for at, text in _texts(data.get(key), (key,)):
            error = _syntax_error(text)
            if error and not ("${" in text and "char '$'" in error):  # an unknown variable, which has been reported
                hint = "for a literal `{#`, write `{{ '{#' }}`" if "comment" in error else None
                yield Problem(at, f"Airflow cannot render this template: {error}", hint, missing=(at,))
    # Which arguments are rendered depends on the operator.
    for at, text in _texts(data.get("with"), ("with",)) if "operator" in data else ():
        if error := _syntax_error(text):
            yield Problem(at, f"not a valid template, if the operator renders this argument: {error}", None, "warning")


def _texts(value: Any, at: Keys) -> Iterator[tuple[Keys, str]]:
    """All text that may be a template. Airflow does not render the keys of mappings."""
    if isinstance(value, str):
        if any(mark in value for mark in _MARKS):
            yield at, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*at, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _texts(item, (*at, position))


@lru_cache(maxsize=4096)
def _syntax_error(text: str) -> str | None:
    from jinja2 import TemplateSyntaxError, nodes  # noqa: PLC0415 - only files with templates need it

    environment = _environment()
    known = {nodes.Filter: environment.filters, nodes.Test: environment.tests}
    try:
        for used in environment.parse(text).find_all((nodes.Filter, nodes.Test)):
            if used.name not in known[type(used)]:
                meant = guess(used.name, known[type(used)])
                what = type(used).__name__.lower()
                return f"Jinja has no {what} `{used.name}`" + (f", {meant}" if meant else "")
    except TemplateSyntaxError as error:
        message = (error.message or "").rstrip(".")
        return message[:1].lower() + message[1:]
    except RecursionError:
        return "it is nested too deeply"
    return None


@lru_cache(maxsize=4096)
def names_in(text: str) -> tuple[str, ...]:
    """Return the variables that the templates of a text use, sorted; none if it has only constants, or is invalid."""
    if not any(mark in text for mark in _MARKS):
        return ()
    from jinja2 import TemplateSyntaxError, meta  # noqa: PLC0415 - only files with templates need it

    try:
        return tuple(sorted(meta.find_undeclared_variables(_environment().parse(text))))
    except (TemplateSyntaxError, RecursionError):  # reported by `templates`
        return ()


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment  # noqa: PLC0415 - as above

    # Airflow has this extension
    made = Environment(extensions=["jinja2.ext.do"])  # noqa: S701 - nothing is rendered  # nosec B701
    made.filters.update(dict.fromkeys(AIRFLOW_FILTERS, str))
    return made
