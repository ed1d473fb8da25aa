"""Programs started by the demo and the end-to-end tests, each with a guardian process and a log file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent  # not resolved: the python of a virtual environment is a symbolic link


class Program:
    """A running program that stops when this process exits, for whatever reason.

    Args:
        command: Program and arguments.
        environment: Complete environment.
        log: File for its output.
        grace: Seconds allowed for a clean shutdown.
    """

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path, grace: float = 20.0
    ) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        guardian = [sys.executable, "-m", "demo.guardian", "--grace", str(grace), "--parent", str(os.getpid())]
        with log.open("ab") as output:
            self._guardian = subprocess.Popen(
                [*guardian, *command],
                env=dict(environment),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is handled by this process
            )

    @property
    def ended(self) -> bool:
        """Whether the program has exited."""
        return self._guardian.poll() is not None

    def tree(self) -> list[psutil.Process]:
        """Return all processes below the guardian."""
        found: list[psutil.Process] = psutil.Process(self._guardian.pid).children(recursive=True)
        return found

    def wait(self) -> int:
        """Wait until the program exits and return its exit code."""
        return self._guardian.wait()

    def stop(self) -> None:
        """Stop the program and all of its descendants, and wait until they are gone."""
        if not self.ended:
            self._guardian.send_signal(signal.SIGTERM)
        self._guardian.wait()

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its log, without info messages."""
        kept = [line[:300] for line in self.log.read_text(errors="replace").splitlines() if "[info " not in line]
        return "\n".join(kept[-lines:])


def clean_environment() -> dict[str, str]:
    """Return the environment without AWS and Airflow variables, with this Python's programs first on PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW", "BATCHEMR_"))}
    return {
        **kept,
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
