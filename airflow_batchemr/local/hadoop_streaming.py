"""`hadoop-streaming` of the local EMR: runs the mapper, combiner and reducer as local processes. Runs as a script.

There is one map task for each input file. Keys are sorted as bytes. A failed task is repeated, as on Hadoop. The logs
have Hadoop's form: the client's in the step's `syslog`, those of the tasks in the container logs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_batchemr.local.hadoop_files import Files, HadoopError
else:
    from hadoop_files import Files, HadoopError  # a script's own folder is on its path

COUNTER = re.compile(rb"reporter:counter:([^,]*),([^,]*),(-?\d+)\s*")
#: Settings that replace parts of Hadoop that are not in Python.
CLASSES = re.compile(r"(comparator|partitioner|inputformat|outputformat)\.class$|fileoutputformat\.compress$")
HISTORY = "org.apache.hadoop.mapreduce.jobhistory.TaskAttemptStarted"
IDENTITY = ("org.apache.hadoop.mapred.lib.IdentityMapper", "org.apache.hadoop.mapred.lib.IdentityReducer")
FAILURE = (
    "java.lang.RuntimeException: PipeMapRed.waitOutputThreads(): subprocess failed with code {code}\n"
    "\tat org.apache.hadoop.streaming.PipeMapRed.waitOutputThreads(PipeMapRed.java:322)"
)
#: Functions of `-reducer aggregate`, by the name before the colon of a key.
AGGREGATORS: dict[bytes, Any] = {
    b"LongValueSum": lambda values: sum(map(int, values)),
    b"LongValueMax": lambda values: max(map(int, values)),
    b"LongValueMin": lambda values: min(map(int, values)),
    b"DoubleValueSum": lambda values: sum(map(float, values)),
    b"StringValueMax": lambda values: max(values).decode(),
    b"StringValueMin": lambda values: min(values).decode(),
    b"UniqValueCount": lambda values: len(set(values)),
}


def arguments(given: list[str]) -> argparse.Namespace:
    """Parse Hadoop's generic options and those of streaming. Options that would change the result are refused."""
    parser = argparse.ArgumentParser(prog="hadoop-streaming", allow_abbrev=False)
    for name in ("-input", "-files", "-file", "-archives", "-cmdenv"):
        parser.add_argument(name, action="append", default=[])
    parser.add_argument("-D", "-jobconf", dest="conf", action="append", default=[])
    parser.add_argument("-output", required=True)
    parser.add_argument("-mapper", default="cat")
    for name in ("-combiner", "-reducer", "-libjars", "-numReduceTasks"):
        parser.add_argument(name)
    for name in ("-verbose", "-lazyOutput"):
        parser.add_argument(name, action="store_true")
    options, unknown = parser.parse_known_args(given)
    options.conf = dict(entry.partition("=")[::2] for entry in options.conf)
    unknown += [name for name in options.conf if CLASSES.search(name)]
    if unknown:
        raise HadoopError(f"the local EMR does not support {unknown[0]}")
    if not options.input:
        raise HadoopError("Required argument: -input <path>")
    return options


class Job:
    """One run of a streaming job."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.files = Files()
        self.conf: dict[str, str] = options.conf
        self.cache, self.tasks = folder / "cache", folder / "tasks"
        self.stamp = f"{int(time.time() * 1000)}_0001"
        self.logs = Path(os.environ["EMR_CONTAINER_LOGS"]) / f"application_{self.stamp}"
        self.counters: dict[str, Counter[str]] = {}
        self.containers = 1
        #: Files of this process are private; tasks keep the umask of the step.
        self.umask = os.umask(0o077)

    def setting(self, *names: str, default: int) -> int:
        """Return a number of the configuration, by its current or an older name."""
        return int(next((self.conf[name] for name in names if name in self.conf), default))

    def run(self) -> None:
        """Run all tasks and write the output.

        Raises:
            HadoopError: The job has failed.
        """
        options = self.options
        if self.files.names(options.output):
            raise HadoopError(f"Output directory {options.output} already exists")
        inputs = [name for given in options.input for uri in given.split(",") for name in self.files.inputs(uri)]
        self.stage()
        reducers = self.setting("mapreduce.job.reduces", "mapred.reduce.tasks", default=1)
        reducers = int(options.numReduceTasks) if options.numReduceTasks else reducers
        reducers = 0 if options.reducer == "NONE" else reducers
        self.say(f"Submitted application application_{self.stamp}", "impl.YarnClientImpl")
        self.say(f"Running job: job_{self.stamp}")
        outputs = []
        for number, name in enumerate(inputs):
            mapped = self.task("m", number, options.mapper, self.files.lines(name), name)
            if reducers and options.combiner not in (None, "aggregate"):
                mapped = self.task("m", number, options.combiner, self.ordered(mapped), name)
            outputs.append(mapped)
        self.say(f" map 100% reduce {0 if reducers else 100}%")
        if reducers:
            parts: list[list[bytes]] = [[] for _ in range(reducers)]
            for line in (line for output in outputs for line in output):
                parts[zlib.crc32(self.key(line)) % reducers].append(line)
            reducer = options.reducer or "cat"
            outputs = [self.task("r", number, reducer, self.ordered(part)) for number, part in enumerate(parts)]
            self.say(" map 100% reduce 100%")
        for number, output in enumerate(outputs):
            self.files.write(f"{options.output.rstrip('/')}/part-{number:05}", b"".join(output))
        self.files.write(f"{options.output.rstrip('/')}/_SUCCESS", b"")
        self.say(f"Job job_{self.stamp} completed successfully")
        self.say_counters(len(inputs), reducers)
        self.say(f"Output directory: {options.output}", "streaming.StreamJob")

    def key(self, line: bytes) -> bytes:
        """Return the key of a line: its first fields, separated by tabs."""
        fields = self.setting("stream.num.map.output.key.fields", default=1)
        return b"\t".join(line.rstrip(b"\n").split(b"\t")[:fields])

    def ordered(self, lines: list[bytes]) -> list[bytes]:
        """Return the lines in the order of their keys."""
        return sorted(lines, key=self.key)

    def stage(self) -> None:
        """Copy the files for the working folders of the tasks, as Hadoop's distributed cache does."""
        self.cache.mkdir(parents=True)
        for kind in ("files", "file", "archives"):
            for uri in (uri for given in getattr(self.options, kind) for uri in given.split(",")):
                source, _, name = uri.partition("#")
                path = self.cache / (name or source.rstrip("/").rpartition("/")[2])
                if kind == "archives":
                    packed = self.cache.with_name(source.rpartition("/")[2])
                    packed.write_bytes(self.files.read(source))
                    shutil.unpack_archive(packed, path)
                else:
                    path.write_bytes(self.files.read(source))
                    path.chmod(0o700)

    def task(self, kind: str, number: int, command: str, lines: list[bytes], source: str = "") -> list[bytes]:
        """Run a task, with Hadoop's number of attempts, and return its output lines."""
        if command in IDENTITY or command == "aggregate":
            return aggregated(lines) if command == "aggregate" else lines
        name = f"task_{self.stamp}_{kind}_{number:06}"
        kinds = {"m": "map", "r": "reduce"}
        attempts = self.setting(f"mapreduce.{kinds[kind]}.maxattempts", default=4)
        for attempt in range(attempts):
            folder = self.tasks / f"{name}_{attempt}"
            folder.mkdir(parents=True, exist_ok=True)
            for path in self.cache.iterdir():
                if not (folder / path.name).exists():
                    (folder / path.name).symlink_to(path)
            conf = {
                **self.conf, "mapreduce.job.id": f"job_{self.stamp}", "mapreduce.task.id": name,
                "mapreduce.task.partition": str(number), "mapreduce.task.ismap": str(kind == "m").lower(),
                "mapreduce.task.attempt.id": f"attempt_{name[5:]}_{attempt}", "mapreduce.map.input.file": source,
            }  # fmt: skip
            variables = {re.sub(r"\W", "_", key): value for key, value in conf.items()}
            variables |= dict(entry.partition("=")[::2] for entry in self.options.cmdenv)
            argv = shlex.split(command)
            if (folder / argv[0]).is_file():
                argv[0] = str(folder / argv[0])
            environment = {**os.environ, **variables}
            try:
                done = subprocess.run(
                    argv, input=b"".join(lines), capture_output=True, cwd=folder, env=environment, check=False,
                    umask=self.umask,
                )  # fmt: skip
            except OSError as error:
                missing = f'Cannot run program "{argv[0]}": {error}\n'
                done = subprocess.CompletedProcess(argv, 127, b"", missing.encode())
            self.keep(done, f"{name[5:]}_{attempt}", source, len(lines))
            if done.returncode == 0:
                # Hadoop writes the key, a tab and the value, even if the value is empty
                return [line + b"\n" if b"\t" in line else line + b"\t\n" for line in done.stdout.splitlines()]
            failed = f"Task Id : attempt_{name[5:]}_{attempt}, Status : FAILED"
            self.say(f"{failed}\nError: {FAILURE.format(code=done.returncode)}")
        self.say(f"Job job_{self.stamp} failed with state FAILED due to: Task failed {name}")
        raise HadoopError("Job not successful!")

    def keep(self, done: subprocess.CompletedProcess[bytes], attempt: str, source: str, count: int) -> None:
        """Write the logs of an attempt, and add up the counters that it has reported on stderr."""
        self.containers += 1
        container = self.logs / f"container_{self.stamp}_01_{self.containers:06}"
        container.mkdir(parents=True)
        # The job's history tells which container belongs to an attempt
        history = Path(os.environ["EMR_JOB_HISTORY"]) / time.strftime("%Y/%m/%d/000000")
        history.mkdir(parents=True, exist_ok=True)
        with (history / f"job_{self.stamp}-0-hadoop-streamjob.jhist").open("a") as file:
            started = {"attemptId": f"attempt_{attempt}", "containerId": container.name}
            kind = "MAP" if "_m_" in attempt else "REDUCE"
            file.write(json.dumps({"type": f"{kind}_ATTEMPT_STARTED", "event": {HISTORY: started}}) + "\n")
        with (container / "stderr").open("wb") as stderr:
            for line in done.stderr.splitlines(keepends=True):
                found = COUNTER.fullmatch(line)
                if found:
                    group, name, amount = found[1].decode(), found[2].decode(), int(found[3])
                    self.counters.setdefault(group, Counter())[name] += amount if done.returncode == 0 else 0
                elif not line.startswith(b"reporter:status:"):
                    stderr.write(line)
        log = record(f"Processing split: {source}:0+{count}", "mapred.MapTask") if source else ""
        if done.returncode:
            log += record(f"Error running child : {FAILURE.format(code=done.returncode)}", "mapred.YarnChild", "WARN")
        (container / "syslog").write_text(log)

    @staticmethod
    def say(message: str, logger: str = "mapreduce.Job", level: str = "INFO") -> None:
        """Write a record of Hadoop's client to the step's syslog."""
        with Path(os.environ["EMR_SYSLOG"]).open("a") as syslog:
            syslog.write(record(message, logger, level))

    def say_counters(self, maps: int, reducers: int) -> None:
        """Write the counters of the job."""
        groups = {"Job Counters ": {"Launched map tasks": maps, "Launched reduce tasks": reducers}, **self.counters}
        lines = [f"Counters: {sum(map(len, groups.values()))}"]
        for group, amounts in groups.items():
            lines += [f"\t{group}", *(f"\t\t{name}={amount}" for name, amount in amounts.items())]
        self.say("\n".join(lines))


def aggregated(lines: list[bytes]) -> list[bytes]:
    """Return the output of Hadoop's aggregate reducer for sorted lines `function:key<tab>value`."""
    found = []
    for key, group in groupby(lines, key=lambda line: line.rstrip(b"\n").partition(b"\t")[0]):
        function, colon, name = key.partition(b":")
        if not colon or function not in AGGREGATORS:
            raise HadoopError(f"the local EMR does not support the aggregation {function.decode()!r}")
        values = [line.rstrip(b"\n").partition(b"\t")[2] for line in group]
        found.append(b"%s\t%s\n" % (name, str(AGGREGATORS[function](values)).encode()))
    return found


def record(message: str, logger: str, level: str = "INFO") -> str:
    """Return a log record in the form of Hadoop's log4j configuration on EMR."""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S')},000 {level} org.apache.hadoop.{logger} (main): {message}\n"


def main() -> int:
    """Run the command.

    Returns:
        0 if the job has succeeded, else 1.
    """
    try:
        Job(arguments(sys.argv[1:]), Path(tempfile.mkdtemp(dir=Path.cwd()))).run()
    except HadoopError as error:
        Job.say(f"Error Launching job : {error}", "streaming.StreamJob", "ERROR")
        sys.stderr.write(f"Error Launching job : {error}\nStreaming Command Failed!\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
