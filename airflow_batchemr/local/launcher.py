"""Starts the commands of the local AWS, in a small separate process.

Reads one JSON object per line from stdin and answers on stdout. When stdin is closed for any reason, including a
`kill -9` of the server, it kills all processes that it has started and exits, so nothing is left running. Runs as a
script with the standard library only. A small process without threads also forks faster and more safely than a server.

Requests: `{"base": environment}` first; `{"start": id, "argv", "env", "folders", "stdout", "stderr", "memory"}`
(`folders`: parent of its working folder; `stderr` null: redirect to stdout; `memory`: bytes or null);
`{"signal": id, "number"}`; `{"oom": id}`.
Answers: `{"id", "pid"}` if started, `{"id", "error"}` if not started, `{"id", "code", "oom"}` when ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

#: Seconds between checks of the memory of running commands.
MEMORY_INTERVAL = 0.25
#: Maximum number of empty folders kept for the next commands.
MAX_CLEAN = 64
PR_SET_CHILD_SUBREAPER = 36


class Launcher:
    """Running commands by id."""

    def __init__(self) -> None:
        self.base: dict[str, str] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.folders: dict[str, Path] = {}
        self.clean: list[Path] = []
        self.memory: dict[str, int] = {}
        self.out_of_memory: set[str] = set()
        #: Folders and files of this process are private; commands keep the umask of the server.
        self.umask = os.umask(0o077)

    def take(self, request: dict[str, Any]) -> None:
        """Handle one request."""
        if "start" in request:
            self.start(request)
        elif "signal" in request:
            self.send_signal(request["signal"], request["number"])
        elif "oom" in request and request["oom"] in self.running:
            self.out_of_memory.add(request["oom"])
            self.send_signal(request["oom"], signal.SIGKILL)
        elif "base" in request:
            self.base = request["base"]

    def start(self, request: dict[str, Any]) -> None:
        """Start a process in its own session (and process group) and its own folder."""
        name = request["start"]
        folder = self.clean.pop() if self.clean else Path(request["folders"]) / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as files:
                stdout = files.enter_context(Path(request["stdout"]).open("ab"))
                stderr: Any = subprocess.STDOUT
                if request["stderr"]:
                    stderr = files.enter_context(Path(request["stderr"]).open("ab"))
                process = subprocess.Popen(
                    request["argv"],
                    cwd=folder,
                    env={**self.base, "HOME": str(folder), **request["env"]},
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                    umask=self.umask,
                )
        except (OSError, ValueError) as error:
            self.clear(folder)
            missing = isinstance(error, FileNotFoundError)
            say(id=name, error=f"{request['argv'][0]}: executable file not found in $PATH" if missing else str(error))
            return
        self.running[name] = process
        self.folders[name] = folder
        if request["memory"]:
            self.memory[name] = request["memory"]
        say(id=name, pid=process.pid)

    def send_signal(self, name: str, number: int) -> None:
        """Send a signal to the whole process group."""
        process = self.running.get(name)
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)

    def reap(self) -> None:
        """Report commands that have ended. Processes left in their group are killed, as in a container."""
        for name, process in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            self.send_signal(name, signal.SIGKILL)
            wait_for_group(process.pid)
            del self.running[name]
            self.memory.pop(name, None)
            self.clear(self.folders.pop(name))
            say(id=name, code=code, oom=name in self.out_of_memory)
            self.out_of_memory.discard(name)
        reap_orphans({process.pid for process in self.running.values()})

    def clear(self, folder: Path) -> None:
        """Remove a folder, or keep it for the next command if it is empty, because creating one is expensive."""
        if folder.is_dir() and not any(folder.iterdir()) and len(self.clean) < MAX_CLEAN:
            self.clean.append(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)

    def watch_memory(self) -> None:
        """Kill commands above their limit. Counts unshared memory of all processes of the session, like a cgroup."""
        if not self.memory or not Path("/proc/self").is_dir():
            return
        used = memory_by_session()
        for name, limit in self.memory.items():
            if used.get(self.running[name].pid, 0) > limit:
                self.out_of_memory.add(name)
                self.send_signal(name, signal.SIGKILL)

    def end(self) -> None:
        """Kill everything, including processes that have moved to another session."""
        for name in self.running:
            self.send_signal(name, signal.SIGKILL)
        for process in self.running.values():
            process.wait()
            wait_for_group(process.pid)
        for pid in children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for folder in [*self.folders.values(), *self.clean]:
            shutil.rmtree(folder, ignore_errors=True)


def say(**answer: Any) -> None:
    """Write one line to the server. If the server is gone, stdin is closed as well."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(answer).encode() + b"\n")


def wait_for_group(group: int) -> None:
    """Wait until all processes of a killed group are gone. They become our children when their parent ends (Linux)."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


def reap_orphans(known: set[int]) -> None:
    """Reap processes that became our children because their parent has ended."""
    for pid in children():
        if pid not in known:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def children() -> list[int]:
    """Return the ids of our child processes (Linux only)."""
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def memory_by_session() -> dict[int, int]:
    """Return bytes of unshared resident memory by session id."""
    page = os.sysconf("SC_PAGE_SIZE")
    used: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
                fields = (entry / "statm").read_text().split()
                used[session] = used.get(session, 0) + (int(fields[1]) - int(fields[2])) * page
    return used


def main() -> None:
    """Handle requests until stdin is closed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A handler, not SIG_IGN, because commands would inherit an ignored signal.
        signal.signal(number, lambda *_: None)
    awake, wake = os.pipe()
    for end in (awake, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    launcher = Launcher()
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(awake, selectors.EVENT_READ)
    rest, looked = b"", 0.0
    while True:
        ready = {key.fd for key, _ in selector.select(MEMORY_INTERVAL if launcher.memory else None)}
        if awake in ready:
            os.read(awake, 4096)
        launcher.reap()
        if 0 in ready:
            chunk = os.read(0, 1 << 20)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                launcher.take(json.loads(line))
        if time.monotonic() - looked > MEMORY_INTERVAL:
            launcher.watch_memory()
            looked = time.monotonic()
    launcher.end()


if __name__ == "__main__":
    main()
