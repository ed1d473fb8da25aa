"""Keys of a block that exclude each other."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.steps import KINDS
from airflow_batchemr.pipeline_file.validation import Problem, model_of_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.models.base import Model
    from airflow_batchemr.pipeline_file.validation import Keys

_NEW_OR_EXISTING = [
    (existing, new) for existing in ("cluster", "cluster_id", "cluster_name") for new in ("type", "master", "fleets")
]
#: Mutually exclusive keys, by model.
EXCLUSIVE: dict[str, list[tuple[str, ...]]] = {
    "Array": [
        ("size", "pack", "per_object", "rows"),
        ("into", "max_bytes", "max_objects"),
        *(("size", key) for key in ("into", "max_bytes", "max_objects", "suffix", "allow_empty")),
        *((key, limit) for key in ("per_object", "rows") for limit in ("into", "max_bytes", "max_objects", "suffix")),
    ],
    "Batch": [("image", "definition")],
    "Emr": [
        ("cluster", "cluster_id", "cluster_name"),
        ("type", "master", "fleets"),
        ("type", "core", "fleets"),
        ("type", "task", "fleets"),
        *_NEW_OR_EXISTING,
    ],
    "Spark": [("py", "jar"), ("py", "class")],
    "Schedule": [("cron", "every", "continuous", "after_assets", "timetable")],
    "Notify": [("email", "slack", "pagerduty", "notifier")],
    "Step": [tuple(kind.key() for kind in KINDS)],
    "On": [("emr_serverless", "emr_eks")],
    "Assets": [("all", "any")],
    "Job": [
        *(("batch", key) for key in ("spark", "steps", "load", "save", "on")),
        *(("operator", key) for key in ("batch", "array", "emr", "spark", "steps", "load", "save", "on")),
        *(("on", key) for key in ("steps", "load", "save")),
        ("spark", "steps"),
    ],
}


def exclusive_keys(model: type[Model], data: dict[str, Any], at: Keys = ()) -> Iterator[Problem]:
    """Find keys that exclude each other in the blocks of incomplete data, such as defaults; null means absent.

    Args:
        model: the model of the data.
        data: its values. Its own keys may be combined: which blocks apply depends on the job.
        at: path of the data.
    """
    for key, value in data.items():
        block = model_of_key(model, key)
        if isinstance(value, dict) and block is not None and block is not model:
            pairs = (pair for group in EXCLUSIVE.get(block.__name__, ()) for pair in combinations(group, 2))
            for first, second in pairs:
                if value.get(first) is not None and value.get(second) is not None:
                    message = f"`{first}` and `{second}` cannot be combined"
                    yield Problem((*at, key, second), message, "remove one of them", key=True)
            yield from exclusive_keys(block, value, (*at, key))
