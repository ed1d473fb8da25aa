"""Running commands, started by the launcher process."""

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
    """Outcome of a command.

    Attributes:
        code: Exit code; 128 + n if it was killed by signal n. None if it did not start or its host was lost.
        error: Reason why it did not start.
        out_of_memory: Whether it was killed because it exceeded its memory limit.
        lost: Whether the launcher died while it was running.
    """

    code: int | None
    error: str | None = None
    out_of_memory: bool = False
    lost: bool = False


@dataclass(frozen=True)
class Command:
    """A command to run.

    Attributes:
        name: Unique among running commands.
        argv: Program, searched on PATH, and arguments. No shell is involved.
        environment: Variables added to the base environment.
        folders: Parent of its working folder, which is also HOME. The folder is removed when the command ends.
        stdout: File to append its output to.
        stderr: File to append its errors to; None redirects them to stdout.
        memory: Memory limit in bytes for all its processes together; None means no limit.
        on_start: Called with the process id.
        on_end: Called once, even if the command did not start.
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
    """Starts, signals and stops commands. Callbacks are called from a single thread."""

    def __init__(self, base: Mapping[str, str]) -> None:
        self._base = dict(base)
        self._lock = threading.Lock()
        self._running: dict[str, Command] = {}
        self._pids: dict[str, int] = {}
        self._closed = False
        self._launcher = self._launch()

    def start(self, command: Command) -> None:
        """Start a command. Its callbacks report the outcome."""
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
        """Send a signal to the process group of a command, if it is still running."""
        with self._lock:
            if name in self._running:
                self._say(signal=name, number=number)

    def kill_for_memory(self, name: str) -> None:
        """Kill a command as if it had exceeded its memory limit."""
        with self._lock:
            if name in self._running:
                self._say(oom=name)

    def close(self) -> None:
        """Kill all commands and wait until they are gone. No more callbacks are called."""
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
            # Ctrl-C in the terminal is handled by the server, which then stops the launcher.
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
            # The reader also notices the end of the launcher, and reports all running commands as lost.
            log.warning("the launcher of the local AWS has exited")

    def _read(self, launcher: subprocess.Popen[bytes]) -> None:
        if launcher.stdout is None:
            return
        for line in launcher.stdout:
            try:
                self._handle(json.loads(line))
            except Exception:
                log.exception("the local AWS cannot handle the message %r from its launcher", line)
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

    def _handle(self, answer: dict[str, Any]) -> None:
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
