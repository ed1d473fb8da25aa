"""Programs started by the demo and the tests stop when the starting process exits, for whatever reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from demo.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

#: Ignores SIGINT and SIGTERM, and has a child in another session whose parent exits immediately.
STUBBORN = (
    "trap '' INT TERM; (setsid sh -c 'trap \"\" INT TERM; echo $$ >orphan; sleep 600' &); echo $$ >program; sleep 600"
)
STARTER = """
import os, signal, sys, time
from pathlib import Path
from demo.processes import Program
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's `&` has hidden, if pytest was started so
program = Program(["sh", "-c", sys.argv[1]], environment=os.environ, log=Path("log"), grace=0.2)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_all_processes_stop_when_the_starter_is_killed(tmp_path: Path, number: int) -> None:
    """Including orphaned processes that ignore SIGTERM."""
    command = [sys.executable, "-c", STARTER, f"cd {tmp_path}; {STUBBORN}"]
    starter = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    )
    try:
        pids = [wait_for_pid(tmp_path / name) for name in ("program", "orphan")]
    finally:
        starter.send_signal(number)
        starter.wait()
    until = time.monotonic() + 60
    while left := [pid for pid in pids if psutil.pid_exists(pid)]:
        assert time.monotonic() < until, left
        time.sleep(0.05)


def test_orphans_of_a_program_stop_when_it_exits(tmp_path: Path) -> None:
    """The guardian exits with the exit code of the program, and no process is left."""
    command = "(setsid sleep 600 & echo $! >orphan); exit 7"
    guardian = [sys.executable, "-m", "demo.guardian", "sh", "-c", f"cd {tmp_path}; {command}"]
    assert subprocess.run(guardian, cwd=ROOT, check=False).returncode == 7
    assert not psutil.pid_exists(wait_for_pid(tmp_path / "orphan"))


def wait_for_pid(file: Path) -> int:
    """Wait for a file with a process id, and return the id."""
    while not (file.exists() and file.read_text().strip()):
        time.sleep(0.05)
    return int(file.read_text())
