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
    """Return the command of a driver, and the environment variables that Spark properties set for it.

    In these services the driver always runs in a container of its own, so its output is the container's, and master
    and deploy mode are the service's. Variables of executors are passed on by Spark itself: PySpark's workers get them.

    Args:
        parameters: `sparkSubmitParameters`, with shell quoting.
        application: Entry point and its arguments.
        defaults: Properties of `spark-defaults`. The parameters take precedence.
        driver_env: Prefix of the properties that set variables of the driver.

    Raises:
        ValueError: A closing quote is missing in the parameters.
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
    """Yield the name and value of each `--conf`."""
    for position, argument in enumerate(arguments):
        text = ""
        if argument in ("--conf", "-c"):
            text = "".join(arguments[position + 1 : position + 2])
        elif argument.startswith("--conf="):
            text = argument.removeprefix("--conf=")
        name, equals, value = text.partition("=")
        if equals:
            yield name, value
