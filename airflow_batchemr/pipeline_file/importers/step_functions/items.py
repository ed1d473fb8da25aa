"""The items of a Map, and how many of them may fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.importers.step_functions.values import (
    FollowUpError,
    Refused,
    UntranslatableError,
    look_up,
    path_steps,
)

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.importers.step_functions.members import Members

#: Maximum number of Map items that become separate jobs; more items should be an array job.
_MAX_ITEMS = 100


def items_of(state: Members, data: Any) -> list[Any]:
    """The items of a Map.

    Raises:
        UntranslatableError: if they are only known at run time, or too many.
    """
    if "ItemReader" in state:
        raise UntranslatableError(
            "write a Map over objects or rows in S3 as an array job: `array: {per_object: s3://…}` (the object is "
            "in BATCHEMR_INPUT_URI) or `array: {rows: s3://…}` (the row is in BATCHEMR_ROW)"
        )
    items = state.get("Items")
    if items is None:
        path = state.constant("ItemsPath", str, "$")
        items = look_up(data, path_steps(path), path)
    if isinstance(items, Refused):
        raise FollowUpError
    if not isinstance(items, list):
        raise UntranslatableError(
            "the items are only known at run time. Write them to S3, one per line, and use an array job: "
            "`array: {rows: s3://…}` (the line is in BATCHEMR_ROW)"
        )
    if len(items) > _MAX_ITEMS:
        raise UntranslatableError(f"too many items ({len(items)}): use an array job, `array: {len(items)}`")
    return items


def tolerates(state: Members, items: int) -> bool | None:
    """Whether the Map succeeds if all of its items fail; None if it does so only if some of them fail."""
    count = state.constant("ToleratedFailureCount", int, 0)
    percent = state.constant("ToleratedFailurePercentage", (int, float), 0)
    if count >= items or percent >= 100:
        return True
    return None if count or percent else False
