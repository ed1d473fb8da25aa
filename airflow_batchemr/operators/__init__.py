"""The operators of this package. They are imported when they are first used, as in `airflow_batchemr`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_batchemr.operators.batch import BatchArrayOperator
    from airflow_batchemr.operators.emr import (
        EmrCreateClusterOperator,
        EmrJobRunOperator,
        EmrStepsOperator,
        EmrTerminateClusterOperator,
        EphemeralEmrOperator,
    )

__all__ = [
    "BatchArrayOperator",
    "EmrCreateClusterOperator",
    "EmrJobRunOperator",
    "EmrStepsOperator",
    "EmrTerminateClusterOperator",
    "EphemeralEmrOperator",
]


def __getattr__(name: str) -> Any:
    """Import an operator on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import airflow_batchemr

    return getattr(airflow_batchemr, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
