"""Run a program so that it, and all that it starts, ends with whoever started it.

    python -m demo.guardian [--grace SECONDS] [--parent PID] PROGRAM [ARGUMENT...]

The guardian's exit code is the program's. It stops the program when it gets SIGINT, SIGTERM or SIGHUP, and when its
own parent is gone, even by `kill -9`: SIGINT to the program alone, after the grace SIGKILL to everything that is left.
(`airflow standalone` ends its children on SIGINT, not on SIGTERM; had they got it too, its executor's workers would die
with a lock held and the scheduler would wait for them.) On Linux it is the subreaper of all below it, so that a process
whose parent has died is still found and ended.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from types import FrameType

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_LOOK_AGAIN = 0.2  # seconds between two looks at the parent and the program
_REAP_EVERY = 5.0  # seconds; adopted zombies only cost a row in the process table


class Guardian:
    """One program under guard.

    Args:
        command: program and arguments.
        grace: seconds between SIGINT and SIGKILL.
        parent: pid whose end ends the program.
    """

    def __init__(self, command: list[str], *, grace: float, parent: int) -> None:
        self.command = command
        self.grace = grace
        self.parent = parent
        self.asked: int | None = None

    def run(self) -> int:
        """Run the program to its end, or until it has to stop; give its exit code, or 128 + the signal's number."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)
        _adopt_orphans()
        program = subprocess.Popen(self.command, start_new_session=True, preexec_fn=_prepare)  # noqa: PLW1509
        reaped = time.monotonic()
        while not self._must_stop():
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = program.wait(_LOOK_AGAIN)
                _end_all(grace=1.0)
                return code if code >= 0 else 128 - code
            if time.monotonic() - reaped > _REAP_EVERY:
                reaped = time.monotonic()
                _reap(but=program.pid)
        with contextlib.suppress(ProcessLookupError):
            program.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(self.grace)
        _end_all(grace=0.0)
        return 128 + (self.asked or signal.SIGTERM)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self.asked = number

    def _must_stop(self) -> bool:
        return self.asked is not None or os.getppid() != self.parent


def _prepare() -> None:
    """In the program's process: hear SIGINT, and get it should the guardian itself be killed.

    A shell's `&` hands down that SIGINT is ignored, but `airflow standalone` stops cleanly on nothing else.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies (Linux; elsewhere they are missed)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _reap(*, but: int) -> None:
    for child in psutil.Process().children():
        if child.pid != but and child.status() == psutil.STATUS_ZOMBIE:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, os.WNOHANG)


def _end_all(*, grace: float) -> None:
    """End all descendants: SIGTERM and the grace first if there is one, then SIGKILL until none is left."""
    left = psutil.Process().children(recursive=True)
    if left and grace:
        _signal_all(left, signal.SIGTERM)
        psutil.wait_procs(left, timeout=grace)
    while left := psutil.Process().children(recursive=True):
        _signal_all(left, signal.SIGKILL)
        psutil.wait_procs(left, timeout=0.5)


def _signal_all(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def main() -> int:
    """Read the command line and guard the program."""
    parser = argparse.ArgumentParser(prog="python -m demo.guardian", description=__doc__)
    parser.add_argument("--grace", type=float, default=20.0)
    parser.add_argument("--parent", type=int, default=os.getppid())
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    return Guardian(arguments.command, grace=arguments.grace, parent=arguments.parent).run()


if __name__ == "__main__":
    sys.exit(main())
