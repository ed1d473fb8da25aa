"""The sensor of this package. It is imported when it is first used, as in `airflow_batchemr`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_batchemr.sensors.marker import S3MarkerSensor

__all__ = ["S3MarkerSensor"]


def __getattr__(name: str) -> Any:
    """Import the sensor on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import airflow_batchemr

    return getattr(airflow_batchemr, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
