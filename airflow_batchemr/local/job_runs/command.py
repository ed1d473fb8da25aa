"""The spark-submit command of a job run."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from airflow_batchemr.local.spark.submit import local_arguments

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["spark_command"]


def spark_command(
    parameters: str, application: Sequence[str], defaults: Mapping[str, str], driver_env: str
) -> tuple[list[str], dict[str, str]]:
    """The command of a driver, and the environment variables that Spark's properties set for it.

    In these services the driver always runs in a container of its own, so its output is the container's, and master
    and deploy mode are the service's. Variables of executors are passed on by Spark itself: PySpark's workers get them.

    Args:
        parameters: `sparkSubmitParameters`, quoted as for a shell.
        application: entry point and its arguments.
        defaults: properties of `spark-defaults`; those among the parameters take precedence.
        driver_env: prefix of the property that sets a variable of the driver.

    Raises:
        ValueError: a quotation in the parameters has no end.
    """
    configured = [word for name, value in defaults.items() for word in ("--conf", f"{name}={value}")]
    arguments, _ = local_arguments([*configured, *shlex.split(parameters), *application])
    before = arguments[: len(arguments) - len(application)]
    environment = {
        name.removeprefix(driver_env): value
        for name, value in _properties(before)
        if name.startswith(driver_env) and name != driver_env
    }
    return ["spark-submit", *arguments], environment


def _properties(arguments: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Name and value of each `--conf`."""
    for position, argument in enumerate(arguments):
        text = ""
        if argument in ("--conf", "-c"):
            text = "".join(arguments[position + 1 : position + 2])
        elif argument.startswith("--conf="):
            text = argument.removeprefix("--conf=")
        name, equals, value = text.partition("=")
        if equals:
            yield name, value
