"""Local files that a pipeline names: relative to the folder of the pipeline file, whatever file Airflow parses."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: A URI, or a template that may become one.
_NOT_LOCAL = re.compile(r"\w+://|\{\{")


def with_absolute_paths(kwargs: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the arguments of an EMR operator with absolute paths.

    The operator takes relative paths from the folder of its Dag's file, which is not that of the pipeline file if
    `load_pipelines` reads another folder.

    Args:
        kwargs: plain values; `python_env` in the `spark` blocks of `steps`, and in `needs`, may be a path.
        folder: of the pipeline file.
    """
    found = dict(kwargs)
    if isinstance(steps := kwargs.get("steps"), list):
        found["steps"] = [_of_step(step, folder) for step in steps]
    if isinstance(needs := kwargs.get("needs"), dict) and "python_env" in needs:
        found["needs"] = {**needs, "python_env": [_absolute(value, folder) for value in needs["python_env"]]}
    return found


def _of_step(step: Any, folder: Path) -> Any:
    spark = step.get("spark") if isinstance(step, dict) else None
    if not isinstance(spark, dict) or not isinstance(spark.get("python_env"), str):
        return step
    return {**step, "spark": {**spark, "python_env": _absolute(spark["python_env"], folder)}}


def _absolute(value: str, folder: Path) -> str:
    # Links are kept: a deployment tool may replace the folder behind a link
    return value if _NOT_LOCAL.match(value) else os.path.abspath(folder / value)  # noqa: PTH100
