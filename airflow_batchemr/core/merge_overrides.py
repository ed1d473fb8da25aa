"""Merge the overrides in `submit:` with those that this package sets, container by container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: What identifies the items of a list in SubmitJob; None: their position.
_IDENTITY: dict[str, str | None] = {
    "containers": "name",
    "initContainers": "name",
    "environment": "name",
    "env": "name",
    "resourceRequirements": "type",
    "nodePropertyOverrides": "targetNodes",
    "taskProperties": None,
}
#: What this package sets so that each index gets its own number.
_OURS = frozenset({"command", "args"})
_VARIABLES = frozenset({"environment", "env"})


def merge_overrides(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the user's additions to a SubmitJob request into ours.

    Mappings are merged recursively, and so are lists of containers, nodes, variables and resources, by their names.
    The user's values take precedence, except for commands and variables that we have set. Null removes a value.
    """
    merged = dict(ours)
    for name, value in theirs.items():
        under = merged.get(name)
        if name in _OURS and under is not None:
            continue
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            merged[name] = merge_overrides(under if isinstance(under, Mapping) else {}, value)
        elif name in _IDENTITY and isinstance(under, list) and isinstance(value, list):
            merged[name] = _merged_list(under, value, _IDENTITY[name], keep=name in _VARIABLES)
        else:
            merged[name] = value
    return merged


def _merged_list(ours: Sequence[Any], theirs: Sequence[Any], key: str | None, *, keep: bool) -> list[Any]:
    merged = list(ours)
    for number, item in enumerate(theirs):
        at = number
        if key is not None and isinstance(item, Mapping) and key in item:
            # A container without a name is the only one
            at = next((place for place, one in enumerate(ours) if one.get(key, item[key]) == item[key]), len(merged))
        if at >= len(ours):
            merged.append(item)
        elif not keep:
            merged[at] = merge_overrides(ours[at], item)
    return merged
