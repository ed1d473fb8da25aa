"""The `array` block: the number of indices, or where they come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import Bytes, Model, S3Uri, Templated, is_template, shown

#: Maximum number of indices. Arrays of more than 10,000, the limit of AWS Batch, are split.
MAX_INDICES = 1_000_000
_SOURCES = ("size", "pack", "per_object", "rows")


class Array(Model):
    """The indices of a job, set by exactly one of `size`, `pack`, `per_object` and `rows`."""

    size: Templated[Annotated[int, Field(ge=1, le=MAX_INDICES)]] | None = Field(
        None,
        description=(
            "Number of indices, 1 to 1,000,000. Arrays of more than 10,000 are submitted as several AWS "
            "Batch array jobs"
        ),
    )
    pack: S3Uri | None = Field(
        None,
        description=(
            "S3 prefix whose objects are distributed over shards of about equal size in bytes. Requires "
            "exactly one of `into`, `max_bytes` and `max_objects`"
        ),
    )
    into: Templated[Annotated[int, Field(ge=1, le=MAX_INDICES)]] | None = Field(
        None, description="With `pack`: number of shards, 1 to 1,000,000"
    )
    max_bytes: Bytes | None = Field(
        None, description="With `pack`: maximum size of a shard, in bytes or with a unit such as `1GiB`"
    )
    max_objects: Annotated[int, Field(ge=1)] | None = Field(
        None, description="With `pack`: maximum number of objects per shard"
    )
    suffix: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="With `pack`: only include objects whose key ends with this text"
    )
    per_object: S3Uri | None = Field(
        None,
        description=(
            "S3 prefix with one index per object; it may contain one `*`, at the end or before a suffix "
            "(`s3://data/*.csv`)"
        ),
    )
    rows: S3Uri | None = Field(None, description="S3 URI of a text object (JSON lines, CSV, …) with one index per line")
    allow_empty: bool = Field(
        False,
        description=(
            "If `pack`, `per_object` or `rows` finds nothing, succeed without running anything instead of failing"
        ),
    )
    markers: Literal["in_job"] | None = Field(
        None,
        description=(
            "`in_job`: each index writes its own success marker, for outages of Airflow that last longer "
            "than AWS Batch remembers jobs. Requires `aws` in the image and `s3:PutObject` on the job's "
            "folder `_files/JOB/done/` in the state bucket. By default, Airflow records finished indices"
        ),
    )

    @model_validator(mode="after")
    def _one_source(self) -> Array:
        sources = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(sources) != 1:
            raise Refusal(f"expected exactly one of {', '.join(_SOURCES)}, not {' and '.join(sources) or 'none'}")
        limits = [name for name in ("into", "max_bytes", "max_objects") if getattr(self, name) is not None]
        if self.pack is not None and len(limits) != 1:
            raise Refusal(
                f"`pack` requires exactly one of into, max_bytes, max_objects, not {' and '.join(limits) or 'none'}"
            )
        if self.pack is None and (limits or self.suffix is not None):
            key = limits[0] if limits else "suffix"
            raise Refusal(f"`{key}` requires `pack`", at=[key])
        if self.max_bytes == 0:
            raise Refusal("`max_bytes` must be more than 0", at=["max_bytes"])
        if self.size is not None and self.allow_empty:
            raise Refusal("`allow_empty` requires pack, per_object or rows", at=["allow_empty"])
        if self.per_object is not None and self.per_object.count("*") > 1:
            raise Refusal("`per_object` can contain only one `*`", at=["per_object"])
        return self


def as_array(value: object) -> object:
    """Convert the short form, a number or a template of one, to the fields of `Array`."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_INDICES:
            raise Refusal(f"an array must have 1 to {MAX_INDICES:,} indices, not {value:,}")
        return {"size": value}
    if is_template(value):
        return {"size": value}
    if isinstance(value, dict | Array):
        return value
    quoted = isinstance(value, str) and value.strip().isdigit()
    message = f"expected a number of indices, or a mapping such as {{pack: s3://…/, into: 100}}, not {shown(value)}"
    raise Refusal(message, "remove the quotes" if quoted else None)
