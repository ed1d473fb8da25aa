"""Merging raw AWS arguments into ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def deep_merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `above` over `below`: mappings are merged at every depth, all else (lists, too) is replaced."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        merged[name] = deep_merge(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged
