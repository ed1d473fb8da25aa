"""Defaults under what is written: deep merging, and finding out afterwards which layer a value came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.pipeline_file.errors import PipelineFileError
    from airflow_batchemr.pipeline_file.reader import Document
    from airflow_batchemr.pipeline_file.source_position import SourcePosition


@dataclass(frozen=True)
class Layer:
    """A mapping of a file that takes part in a merge: the document, and the keys that lead to it."""

    document: Document
    keys: tuple[str | int, ...] = ()


def merge(under: Any, over: Any) -> Any:
    """`over` laid on `under`: mappings are merged deeply, all else is replaced; null takes away.

    Neither argument is changed, and what only one of them has is shared with it.
    """
    if not (isinstance(under, dict) and isinstance(over, dict)):
        return over
    made = dict(under)
    for key, value in over.items():
        if key not in made:
            made[key] = value
        elif value is None:
            del made[key]
        else:
            made[key] = merge(made[key], value)
    return made


def locate(
    layers: Sequence[Layer], keys: Sequence[str | int], *, key: bool = False
) -> tuple[Document, SourcePosition | None]:
    """The place of a merged value: of the layer that has most of the keys, of several the nearest.

    Args:
        layers: far to near.
        keys: from the layers' own place down.
        key: the key's place rather than the value's.
    """
    best: tuple[int, Document, SourcePosition | None] | None = None
    for layer in reversed(layers):
        place, depth = layer.document.find((*layer.keys, *keys), key=key)
        depth -= len(layer.keys)
        if best is None or depth > best[0]:
            best = (depth, layer.document, place)
        if depth == len(keys):
            break
    assert best is not None  # noqa: S101 - there is always the file's own layer
    return best[1], best[2]


def error_at(
    layers: Sequence[Layer],
    keys: Sequence[str | int],
    message: str,
    hint: str | None = None,
    *,
    key: bool = False,
    **more: Any,
) -> PipelineFileError:
    """An error at a merged value."""
    document, place = locate(layers, keys, key=key)
    return document.error(message, hint, place, **more)
