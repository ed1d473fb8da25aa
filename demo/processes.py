"""Programs that the demo and the end-to-end tests start, each under a guardian, each with a log file."""

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
BIN = Path(sys.executable).parent  # not resolved: a virtual environment's python is a link out of it


class Program:
    """A running program that ends with this process, however this process ends.

    Args:
        command: program and arguments.
        environment: all of its environment.
        log: file that gets what it prints.
        grace: seconds that it has for ending cleanly.
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
                start_new_session=True,  # a Ctrl-C in the terminal is the starter's to handle
            )

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._guardian.poll() is not None

    def tree(self) -> list[psutil.Process]:
        """All processes below the guardian."""
        found: list[psutil.Process] = psutil.Process(self._guardian.pid).children(recursive=True)
        return found

    def wait(self) -> int:
        """Wait for its end and give its exit code."""
        return self._guardian.wait()

    def stop(self) -> None:
        """End it and all that it started, and wait until they are gone."""
        if not self.ended:
            self._guardian.send_signal(signal.SIGTERM)
        self._guardian.wait()

    def last_words(self, lines: int = 20) -> str:
        """The end of its log, without what is of no interest when something went wrong."""
        kept = [line[:300] for line in self.log.read_text(errors="replace").splitlines() if "[info " not in line]
        return "\n".join(kept[-lines:])


def clean_environment() -> dict[str, str]:
    """This process's environment with nothing of the user's AWS or Airflow in it, and this Python's programs first."""
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
