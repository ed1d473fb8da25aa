"""How many indices a job has, and where they come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import Bytes, Model, S3Uri, shown

#: More than AWS's 10,000 indices are several arrays.
MAX_INDICES = 1_000_000
_SOURCES = ("size", "pack", "per_object", "rows")


class Array(Model):
    """The indices of a job; exactly one of size, pack, per_object and rows.

    Attributes:
        size: number of indices, 1 to 1,000,000.
        pack: S3 prefix whose objects are packed into shards of about equal bytes, with exactly one of the next three.
        into: number of shards (`pack`).
        max_bytes: bytes of a shard (`pack`).
        max_objects: objects of a shard (`pack`).
        per_object: S3 prefix, with or without a `*` at its end or before a suffix: one index an object.
        rows: S3 URI of a text object (JSON lines, CSV, …): one index a line.
        suffix: only objects whose key ends so (`pack`).
        allow_empty: nothing found is a success with nothing run, not an error.
        markers: `in_job`: the job itself writes a marker an index.
    """

    size: Annotated[int, Field(ge=1, le=MAX_INDICES)] | None = None
    pack: S3Uri | None = None
    into: Annotated[int, Field(ge=1, le=MAX_INDICES)] | None = None
    max_bytes: Bytes | None = None
    max_objects: Annotated[int, Field(ge=1)] | None = None
    suffix: Annotated[str, Field(min_length=1)] | None = None
    per_object: S3Uri | None = None
    rows: S3Uri | None = None
    allow_empty: bool = False
    markers: Literal["in_job"] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Array:
        sources = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(sources) != 1:
            raise Refusal(f"expected exactly one of {', '.join(_SOURCES)}, not {' and '.join(sources) or 'none'}")
        limits = [name for name in ("into", "max_bytes", "max_objects") if getattr(self, name) is not None]
        if self.pack is not None and len(limits) != 1:
            raise Refusal(
                f"`pack` needs exactly one of into, max_bytes, max_objects, not {' and '.join(limits) or 'none'}"
            )
        if self.pack is None and (limits or self.suffix is not None):
            word = limits[0] if limits else "suffix"
            raise Refusal(f"`{word}` goes with `pack`", at=[word])
        if self.max_bytes == 0:
            raise Refusal("`max_bytes` must be more than 0", at=["max_bytes"])
        if self.size is not None and self.allow_empty:
            raise Refusal("`allow_empty` goes with pack, per_object and rows", at=["allow_empty"])
        if self.per_object is not None and self.per_object.count("*") > 1:
            raise Refusal("`per_object` takes one `*`", at=["per_object"])
        return self


def as_array(value: object) -> object:
    """A number, or a mapping, as the fields of `Array`."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_INDICES:
            raise Refusal(f"an array has 1 to {MAX_INDICES:,} indices, not {value:,}")
        return {"size": value}
    if isinstance(value, dict | Array):
        return value
    quoted = isinstance(value, str) and value.strip().isdigit()
    message = f"expected a number of indices, or a mapping like {{pack: s3://…/, into: 100}}, not {shown(value)}"
    raise Refusal(message, "remove the quotes" if quoted else None)
