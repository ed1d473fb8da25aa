"""The border between foreign text and the task log, for operators, sensors and triggers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.foreign_text import clean

if TYPE_CHECKING:
    from collections.abc import Callable


class CleanLog:
    """Mixin for classes with Airflow's `log`: makes everything that they log safe to display."""

    @property
    def log(self) -> Any:
        """Airflow's logger, with clean arguments."""
        return CleanLogger(super().log)  # type: ignore[misc]


class CleanLogger:
    """A logger that makes the arguments of its messages safe to display."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._log, name)
        return _cleaned(method) if name in {"debug", "info", "warning", "error", "exception"} else method


def _cleaned(method: Callable[..., Any]) -> Callable[..., Any]:
    def log(message: str, *arguments: Any, **options: Any) -> Any:
        shown = [one if isinstance(one, int | float) else clean(str(one)) for one in arguments]
        return method(clean(message), *shown, **options)

    return log
