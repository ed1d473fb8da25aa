"""Deep merging of defaults, and tracing a merged value back to the file and line that it came from."""

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
    """One of the mappings that are merged.

    Attributes:
        document: the file that contains the mapping.
        keys: path of the mapping in the file.
    """

    document: Document
    keys: tuple[str | int, ...] = ()


def merge(base: Any, override: Any) -> Any:
    """Merge two values: mappings are merged recursively, other values are replaced, null removes a key.

    Neither argument is modified; the result may share values with both.
    """
    if not (isinstance(base, dict) and isinstance(override, dict)):
        return override
    merged = dict(base)
    for key, value in override.items():
        if key not in merged:
            merged[key] = value
        elif value is None:
            del merged[key]
        else:
            merged[key] = merge(merged[key], value)
    return merged


def locate(
    layers: Sequence[Layer], keys: Sequence[str | int], *, key: bool = False
) -> tuple[Document, SourcePosition | None]:
    """Find where a merged value was written: in the layer that contains most of the keys, the last one on a tie.

    Args:
        layers: in merge order, the overriding layer last.
        keys: path of the value, relative to the layers.
        key: return the position of the key instead of the value.
    """
    best: tuple[int, Document, SourcePosition | None] | None = None
    for layer in reversed(layers):
        position, depth = layer.document.find((*layer.keys, *keys), key=key)
        depth -= len(layer.keys)
        if best is None or depth > best[0]:
            best = (depth, layer.document, position)
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
    """An error at the position of a merged value."""
    document, position = locate(layers, keys, key=key)
    return document.error(message, hint, position, **more)
