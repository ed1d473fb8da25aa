"""Default retries after failures of the platform, but not after failures of the user's program."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_batchemr.core.retries import PLATFORM_RETRIES, PLATFORM_RETRY_DELAY
from airflow_batchemr.operators.mapping import default_arguments
from airflow_batchemr.task_log import CleanLog

if TYPE_CHECKING:
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

#: Sentinel for a delay that is not set, compared by identity. Airflow's `partial` uses the constructor's default and
#: requires a duration, so it cannot be None.
_NO_DELAY = dt.timedelta(seconds=PLATFORM_RETRY_DELAY)


class RetryingOperator(CleanLog, BaseOperator):
    """An operator whose retries never repeat work that has finished or still runs.

    Such a retry costs nothing, so it is the default after a failure of the platform. A failed program is likely to fail
    again, so the user decides whether to pay for a retry.

    - `retries` from an argument, from `default_args`, or from a `[core] default_task_retries` other than 0: Airflow's
      own meaning. Failures of the program are retried too.
    - None of them: `PLATFORM_RETRIES` retries, `PLATFORM_RETRY_DELAY` seconds apart unless `retry_delay` is given. A
      failure of the program fails the task at once.

    Args:
        retries: retries after the first try; None if not given.
        retry_delay: time between tries, as a timedelta or in seconds.
        retry_program_failures: whether a failure of the user's program is retried. Follows from `retries` if not given.
        **kwargs: see Airflow's BaseOperator.
    """

    def __init__(
        self,
        *,
        retries: int | None = None,
        retry_delay: dt.timedelta | float = _NO_DELAY,
        retry_program_failures: bool | None = None,
        **kwargs: Any,
    ) -> None:
        resolved = _resolve(retries, retry_delay, retry_program_failures)
        self.retry_program_failures: bool = resolved.pop("retry_program_failures")
        super().__init__(**resolved, **kwargs)

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Airflow's `partial`, with the same default retries as the constructor.

        Airflow fills in its own defaults here, which the constructor of each mapped task instance would treat as given.
        """
        partial = super().partial(**kwargs)
        given = {**default_arguments(partial.kwargs, kwargs), **kwargs}
        partial.kwargs.update(
            _resolve(
                partial.kwargs["retries"] if "retries" in given else None,
                partial.kwargs["retry_delay"] if "retry_delay" in given else _NO_DELAY,
                given.get("retry_program_failures"),
            )
        )
        return partial

    def program_failure(self, message: str) -> AirflowException:
        """Return the exception to raise when the user's program has failed.

        Args:
            message: Describes the failure.
        """
        return (AirflowException if self.retry_program_failures else AirflowFailException)(message)


def _resolve(
    retries: int | None, retry_delay: dt.timedelta | float, retry_program_failures: bool | None
) -> dict[str, Any]:
    """Return the constructor's three arguments with all defaults filled in.

    Airflow reads `[core] default_task_retries` once, into the class attribute; a configured 0 is the same as none.
    """
    if retries is None and BaseOperator.retries:
        retries = BaseOperator.retries
    by_user = retries is not None
    if retry_delay is _NO_DELAY:
        retry_delay = BaseOperator.retry_delay if by_user else dt.timedelta(seconds=PLATFORM_RETRY_DELAY)
    return {
        "retries": retries if by_user else PLATFORM_RETRIES,
        "retry_delay": retry_delay,
        "retry_program_failures": by_user if retry_program_failures is None else retry_program_failures,
    }
