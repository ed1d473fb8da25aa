"""`matrix`: one pipeline or job per combination of values."""

from __future__ import annotations

import itertools
import re
from typing import Any

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import shown

#: Maximum number of combinations of one matrix.
MAX_COMBINATIONS = 1_000


def combinations(matrix: Any) -> list[tuple[str, dict[str, Any]]]:
    """Expand a matrix, in the order of the file.

    Args:
        matrix: lists of values by variable name.

    Returns:
        the name suffix (`eu_a`) and the variables (`{"region": "eu", "model": "a"}`) of each combination.

    Raises:
        Refusal: if it is not a matrix, two combinations have the same suffix, or there are too many.
    """
    if not isinstance(matrix, dict) or not matrix:
        raise Refusal(f"expected a mapping such as {{region: [eu, us]}}, not {shown(matrix)}")
    total = 1
    for axis, values in matrix.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", axis):
            raise Refusal(f"not a valid variable name: {axis}", None, [axis])
        if isinstance(values, list) and not values:
            raise Refusal("the list of values is empty", None, [axis])
        if not isinstance(values, list):
            raise Refusal(f"expected a list of values, not {shown(values)}", None, [axis])
        for position, value in enumerate(values):
            if value is None or isinstance(value, dict | list):
                raise Refusal(f"expected text or a number, not {shown(value)}", None, [axis, position])
        total *= len(values)
    if total > MAX_COMBINATIONS:
        raise Refusal(f"a matrix can have at most {MAX_COMBINATIONS:,} combinations, not {total:,}")
    expanded: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*matrix.values()):
        suffix = "_".join(re.sub(r"[^A-Za-z0-9-]+", "_", shown(value)).strip("_") for value in values)
        if suffix in expanded:
            raise Refusal(f"two combinations have the same name: {suffix}")
        expanded[suffix] = dict(zip(matrix, values, strict=True))
    return list(expanded.items())
