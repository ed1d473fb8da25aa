"""Run a program so that it and all of its descendants stop when the parent process exits.

    python -m demo.guardian [--grace SECONDS] [--parent PID] PROGRAM [ARGUMENT...]

The guardian exits with the program's exit code. It stops the program when it receives SIGINT, SIGTERM or SIGHUP, or
when its own parent is gone, even after `kill -9`: it sends SIGINT to the program only and, after the grace period,
SIGKILL to all remaining processes. (`airflow standalone` stops its children on SIGINT, not on SIGTERM. If the children
received the signal as well, executor workers would die while holding a lock, and the scheduler would wait for them.) On
Linux, the guardian is the subreaper of its descendants, so a process whose parent has died is still found and stopped.
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
_POLL_INTERVAL = 0.2  # seconds between checks of the parent and the program
_REAP_EVERY = 5.0  # seconds; adopted zombies only take an entry in the process table


class Guardian:
    """Runs one program.

    Args:
        command: Program and arguments.
        grace: Seconds between SIGINT and SIGKILL.
        parent: Process id; the program is stopped when this process exits.
    """

    def __init__(self, command: list[str], *, grace: float, parent: int) -> None:
        self.command = command
        self.grace = grace
        self.parent = parent
        self.signal: int | None = None

    def run(self) -> int:
        """Run the program until it exits or has to stop. Returns its exit code, or 128 + the signal number."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        _adopt_orphans()
        program = subprocess.Popen(self.command, start_new_session=True, preexec_fn=_prepare)  # noqa: PLW1509
        reaped = time.monotonic()
        while not self._must_stop():
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = program.wait(_POLL_INTERVAL)
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
        return 128 + (self.signal or signal.SIGTERM)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number

    def _must_stop(self) -> bool:
        return self.signal is not None or os.getppid() != self.parent


def _prepare() -> None:
    """Runs in the process of the program: handle SIGINT, and receive it if the guardian itself is killed.

    Background processes of a shell (`&`) inherit that SIGINT is ignored, but it is the only signal on which `airflow
    standalone` stops cleanly.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies (Linux only; elsewhere, they are missed)."""
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
    """Stop all descendants: SIGTERM and the grace period if there is one, then SIGKILL until none is left."""
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
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.guardian", description=__doc__)
    parser.add_argument("--grace", type=float, default=20.0)
    parser.add_argument("--parent", type=int, default=os.getppid())
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    return Guardian(arguments.command, grace=arguments.grace, parent=arguments.parent).run()


if __name__ == "__main__":
    sys.exit(main())
