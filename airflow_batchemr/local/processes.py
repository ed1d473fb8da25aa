"""The commands that run now, through the launcher process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Command", "Ended", "Processes"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit code; 128 + n where signal n killed it. None where it never started or its host was lost.
        error: why it did not start.
        out_of_memory: it was killed for using more memory than it may.
        lost: the launcher died under it.
    """

    code: int | None
    error: str | None = None
    out_of_memory: bool = False
    lost: bool = False


@dataclass(frozen=True)
class Command:
    """What to run.

    Attributes:
        name: unique among what runs.
        argv: the program, looked for on PATH, and its arguments. No shell is involved.
        environment: on top of the base environment.
        folders: where its working folder and HOME is made; what it leaves in it is removed.
        stdout: file that its output is appended to.
        stderr: the same for its errors; None: into stdout.
        memory: bytes that all its processes may use together; None: no limit.
        on_start: called with the process id.
        on_end: called once, also where it did not start.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    folders: Path
    stdout: Path
    stderr: Path | None
    memory: int | None
    on_start: Callable[[int], None]
    on_end: Callable[[Ended], None]


class Processes:
    """Starts, signals and ends commands. Callbacks come from one thread of its own."""

    def __init__(self, base: Mapping[str, str]) -> None:
        self._base = dict(base)
        self._lock = threading.Lock()
        self._running: dict[str, Command] = {}
        self._pids: dict[str, int] = {}
        self._closed = False
        self._launcher = self._launch()

    def start(self, command: Command) -> None:
        """Starts a command; what comes of it is told by its callbacks."""
        with self._lock:
            self._running[command.name] = command
            self._say(
                start=command.name,
                argv=list(command.argv),
                env=dict(command.environment),
                folders=str(command.folders),
                stdout=str(command.stdout),
                stderr=str(command.stderr) if command.stderr else None,
                memory=command.memory,
            )

    def signal(self, name: str, number: int) -> None:
        """Sends a signal to a command's whole process group; nothing where it has ended."""
        with self._lock:
            if name in self._running:
                self._say(signal=name, number=number)

    def kill_for_memory(self, name: str) -> None:
        """Kills a command as if it had used too much memory."""
        with self._lock:
            if name in self._running:
                self._say(oom=name)

    def close(self) -> None:
        """Kills all that runs and waits until it is gone. Nothing is called back any more."""
        with self._lock:
            self._closed = True
            self._running.clear()
            launcher = self._launcher
        if launcher.stdin:
            launcher.stdin.close()
        launcher.wait()
        self._reader.join()

    def _launch(self) -> subprocess.Popen[bytes]:
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("launcher.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A Ctrl-C at the terminal is for the server, which then ends the launcher.
            start_new_session=True,
        )
        self._launcher = launcher
        self._reader = threading.Thread(target=self._read, args=(launcher,), name="local-aws-processes", daemon=True)
        self._reader.start()
        self._say(base=self._base)
        return launcher

    def _say(self, **request: Any) -> None:
        stdin = self._launcher.stdin
        if stdin is None or stdin.closed:
            return
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            # The reader sees the launcher's end too and reports all that ran as lost.
            log.warning("the launcher of the local AWS has gone")

    def _read(self, launcher: subprocess.Popen[bytes]) -> None:
        if launcher.stdout is None:
            return
        for line in launcher.stdout:
            try:
                self._tell(json.loads(line))
            except Exception:
                log.exception("the local AWS could not take the news %r", line)
        launcher.stdout.close()
        launcher.wait()
        with self._lock:
            if self._closed:
                return
            lost, self._running = self._running, {}
            pids, self._pids = self._pids, {}
            self._launch()
        for pid in pids.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for command in lost.values():
            command.on_end(Ended(None, lost=True))

    def _tell(self, answer: dict[str, Any]) -> None:
        name = answer["id"]
        with self._lock:
            command = self._running.get(name)
            if "pid" in answer:
                self._pids[name] = answer["pid"]
            else:
                self._running.pop(name, None)
                self._pids.pop(name, None)
        if command is None:
            return
        if "pid" in answer:
            command.on_start(answer["pid"])
        elif "error" in answer:
            command.on_end(Ended(None, error=answer["error"]))
        else:
            code = answer["code"]
            command.on_end(Ended(code if code >= 0 else 128 - code, out_of_memory=answer["oom"]))
