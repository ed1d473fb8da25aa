"""What the demo and these tests start ends with them, however they end."""

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

#: Deaf to polite signals, with a child in a session of its own whose parent is gone at once.
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
def test_everything_ends_with_who_started_it(tmp_path: Path, number: int) -> None:
    """Whoever started a program is killed: the program and its orphans, deaf to SIGTERM, are gone."""
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


def test_a_program_that_ends_takes_its_orphans_along(tmp_path: Path) -> None:
    """The guardian has the program's exit code, and nothing of it is left when the guardian ends."""
    command = "(setsid sleep 600 & echo $! >orphan); exit 7"
    guardian = [sys.executable, "-m", "demo.guardian", "sh", "-c", f"cd {tmp_path}; {command}"]
    assert subprocess.run(guardian, cwd=ROOT, check=False).returncode == 7
    assert not psutil.pid_exists(wait_for_pid(tmp_path / "orphan"))


def wait_for_pid(file: Path) -> int:
    """The pid in a file, as soon as it is there."""
    while not (file.exists() and file.read_text().strip()):
        time.sleep(0.05)
    return int(file.read_text())
