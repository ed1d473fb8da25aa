"""Which calls may be repeated, how often, and how long to wait in between."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.config import Config

from airflow_batchemr.aws.errors import AwsError, NotOffered, Throttled, Unknown, classify, member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds to wait before a call is repeated, doubling from the first to the longest, and how often it is repeated.
FIRST_PAUSE, LONGEST_PAUSE, MAX_PAUSES = 0.5, 20.0, 8
#: Seconds after which a request without an answer counts as lost. botocore's default is 60 for either.
CONNECT_TIMEOUT, READ_TIMEOUT = 10, 60
#: Calls that may be repeated: botocore's "standard" mode, exponential backoff with jitter, at most 20 s.
IDEMPOTENT = Config(
    retries={"mode": "standard", "total_max_attempts": 8},
    connect_timeout=CONNECT_TIMEOUT,
    read_timeout=READ_TIMEOUT,
    max_pool_connections=16,
)
#: Polls: the poller itself waits and repeats the call, so botocore's retries would only block a thread.
POLLING = Config(
    retries={"mode": "standard", "total_max_attempts": 1},
    connect_timeout=CONNECT_TIMEOUT,
    read_timeout=30,
    max_pool_connections=16,
)
#: Calls that a page or a command makes while a user waits, and whose answer is optional.
INTERACTIVE = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=2, read_timeout=5)
#: Checks before a start, which it can do without: at most 15 s per call, so that four of them (a queue or a release,
#: and archives of `python_env`) take at most a minute.
OPTIONAL = INTERACTIVE
#: SubmitJob, RunJobFlow and AddJobFlowSteps have no client token: botocore must not send them twice.
ONCE = Config(
    retries={"mode": "standard", "total_max_attempts": 1},
    connect_timeout=CONNECT_TIMEOUT,
    read_timeout=READ_TIMEOUT,
)


def call_once(call: Callable[[], T], name: str, *, sleep: Callable[[float], object] = time.sleep) -> T:
    """Make a call that has no client token; repeat it only if it certainly was not carried out.

    Args:
        call: makes the call with a client whose configuration is `ONCE`.
        name: the call as IAM names it, for errors: `batch:SubmitJob`.
        sleep: waits that many seconds; may raise to give up, such as when a lease expires.

    Raises:
        Refused: AWS refused the call; nothing was carried out.
        Throttled: still throttled or not connected after 8 pauses (about 70 s); nothing was carried out.
        Unknown: the answer was lost; search for the work by its name before doing anything else.
    """
    tries = 0
    while True:
        try:
            return call()
        except Exception as error:
            meaning = classify(error, name)
            if not (meaning.transient and meaning.not_carried_out) or tries == MAX_PAUSES:
                raise meaning from error
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**tries)
            sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            tries += 1


def call_again(call: Callable[[], T], name: str) -> T:
    """Make an idempotent call with a client whose configuration is `IDEMPOTENT`.

    Raises:
        AwsError: the classified failure, after botocore's own retries.
    """
    try:
        return call()
    except AwsError:
        raise
    except Exception as error:
        raise classify(error, name) from error


def call_optionally(call: Callable[[], T], name: str) -> T | None:
    """Make a call that a start can do without, with a client whose configuration is `OPTIONAL`.

    Returns:
        The answer; None, with a warning in the log, if AWS cannot be reached, throttles, fails or has no such call.

    Raises:
        Refused: AWS refused the call.
    """
    try:
        return call_again(call, name)
    except (NotOffered, Throttled, Unknown) as error:
        log.warning("A check before the start is skipped: %s", error)
        return None


def pages(call: Callable[..., Any], key: str, name: str, *required: str) -> Iterator[dict[str, Any]]:
    """The entries of all pages of an idempotent listing call.

    Args:
        call: makes the call; takes `nextToken` as a keyword, except for the first page.
        key: of the entries in an answer.
        name: the call as IAM names it, for errors.
        required: members that each entry must have.

    Raises:
        AwsError: as `call_again`, or an answer without entries, or an entry without a required member.
    """
    more: dict[str, str] = {}
    while True:
        page = call_again(lambda: call(**more), name)  # noqa: B023 - called at once
        for entry in member(page, key, name):
            for one in required:
                member(entry, one, name)
            yield entry
        if not page.get("nextToken"):
            return
        more = {"nextToken": page["nextToken"]}
