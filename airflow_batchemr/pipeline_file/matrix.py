"""`matrix:` one pipeline or job for each combination of values."""

from __future__ import annotations

import itertools
import re
from typing import Any

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import shown

MAX_COMBINATIONS = 1_000


def combinations(matrix: Any) -> list[tuple[str, dict[str, Any]]]:
    """The combinations of a matrix, in the order of the file.

    Args:
        matrix: names of axes, and their values.

    Returns:
        the end of the name (`eu_a`) and the variables (`{"region": "eu", "model": "a"}`) of each.

    Raises:
        Refusal: not a matrix, two combinations of one name, or too many.
    """
    if not isinstance(matrix, dict) or not matrix:
        raise Refusal(f"expected a mapping like {{region: [eu, us]}}, not {shown(matrix)}")
    total = 1
    for axis, values in matrix.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", axis):
            raise Refusal(f"not a name of a variable: {axis}", None, [axis])
        if isinstance(values, list) and not values:
            raise Refusal("the list of values is empty", None, [axis])
        if not isinstance(values, list):
            raise Refusal(f"expected a list of values, not {shown(values)}", None, [axis])
        for place, value in enumerate(values):
            if value is None or isinstance(value, dict | list):
                raise Refusal(f"expected a text or a number, not {shown(value)}", None, [axis, place])
        total *= len(values)
    if total > MAX_COMBINATIONS:
        raise Refusal(f"a matrix has at most {MAX_COMBINATIONS:,} combinations, not {total:,}")
    made: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*matrix.values()):
        end = "_".join(re.sub(r"[^A-Za-z0-9-]+", "_", shown(value)).strip("_") for value in values)
        if end in made:
            raise Refusal(f"two combinations would have the same name: {end}")
        made[end] = dict(zip(matrix, values, strict=True))
    return list(made.items())
