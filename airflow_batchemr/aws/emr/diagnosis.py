"""The probable cause of a failed step or bootstrap action, from its logs."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_batchemr.aws.emr.tracebacks import BEFORE_LEVEL, MESSAGE, STAMP, Raised, java_chains, python_chains
from airflow_batchemr.core.log_lines import cut, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Log:
    """One log of a failed step, driver or bootstrap action."""

    name: str
    """`stderr`, `stdout`, `controller`, `driver stdout`, `bootstrap stderr`, …"""
    uri: str
    text: str
    new: str = ""
    """What was not there when the log was read before."""


@dataclass(frozen=True)
class Cause:
    """The probable cause."""

    kind: str
    """`memory`, `class`, `module`, `file`, `bucket`, `permission`, `dependency`, `command`, `syntax`, `table`,
    `exists`, `setting`, `network`, `code`, or `unknown`."""
    message: str
    exception: str | None = None
    place: str | None = None
    """In the user's code: `file:line in function`."""
    log: str = ""
    """URI of the log in which it was found."""

    def __str__(self) -> str:
        """One or a few lines for display."""
        text = ": ".join(part for part in (self.exception, self.message) if part)
        place = f" at {self.place}" if self.place else ""
        named = "" if self.kind in {"code", "unknown"} else f"[{self.kind}] "
        advice = self.advice
        return f"{named}{text}{place}{f' ({advice})' if advice else ''}"

    @property
    def advice(self) -> str | None:
        """What to do, if the message does not say so itself."""
        text = f"{self.exception}: {self.message}"
        for kind, pattern, advice in ADVICE:
            if kind == self.kind and (found := re.search(pattern, text)):
                return found.expand(advice)
        return None


#: What to do about kinds whose messages do not say so themselves: kind, pattern of the message, advice. The first match
#: counts.
ADVICE = (
    ("memory", r"maxResultSize", "collect less, or raise `conf: {spark.driver.maxResultSize: …}`"),
    (
        "memory",
        r"killed by YARN|beyond (?:physical|virtual) memory|Container (?:killed|from)|Python worker exited",
        "executors need more: `executor_memory:`, `conf: {spark.executor.memoryOverhead: …}`, or smaller partitions",
    ),
    ("memory", "", "give more: `driver_memory:` or `executor_memory:`, or make more and smaller partitions"),
    ("class", "", "check `class:` and the content of the jar"),
    ("module", "", "provide it with `py_files:` or `python_env:`"),
    ("permission", r"calling the (\w+) operation", r"the cluster's instance role may not \1 there"),
    (
        "permission",
        r"(?i)permission ?denied|PermissionError|AccessControl",
        "check the file's owner and mode, on the machine or in HDFS: chmod +x, or run it with bash",
    ),
    ("permission", "", "the cluster's instance role needs it"),
    ("dependency", "", "check the name and version, and whether the cluster's subnet reaches the repository"),
    (
        "command",
        "",
        "it is not installed: install it with `bootstrap:`, or add its application to `applications:`",
    ),
    ("file", r"Local jar", "this is a path on the cluster's machines: upload the jar to S3 and write `s3://…`"),
)
#: Beginning of the query plan that Spark appends to a message.
_QUERY_PLAN = re.compile(r";\n'[\s\S]*")
#: Messages about processes that were killed for their memory; they are the cause even if the failure shows elsewhere.
#: Of some, the whole line is the message.
_KILLED_LINE = re.compile(
    r"Container killed on request\. Exit code is 137|Container from a bad node.{0,500}Exit status: 137"
)
_KILLED = re.compile(
    r"Container killed by YARN for exceeding (?:physical |virtual )?memory limits|"
    r"Container \[pid=\d.{0,500}is running beyond (?:physical|virtual) memory limits|"
    r"Python worker exited unexpectedly \(crashed\)|Out of memory: Kill(?:ed)? process"
)
#: A warning of spark-submit, which then continues and fails elsewhere.
_SKIPPED = re.compile(r"Local jar \S+ does not exist, skipping")
#: Patterns of exceptions and lines by kind. The first match counts.
_KINDS = {
    "memory": (
        r"OutOfMemoryError|MemoryError|memory limits|maxResultSize|Exit (code|status)[ :is]*137|"
        r"Python worker exited unexpectedly|Out of memory"
    ),
    "bucket": r"NoSuchBucket|bucket (does not|doesn't) exist|specified bucket",
    "permission": (
        r"AccessDenied|Access Denied|Forbidden|\(403\)|Status Code: 403|AccessControlException|"
        r"PermissionError|Permission denied|not authorized|UnauthorizedOperation"
    ),
    "dependency": (
        r"unresolved dependency|No matching distribution|Could not find a version|ResolvePackageNotFound|"
        r"PackagesNotFoundError|Unable to locate package"
    ),
    "module": r"ModuleNotFoundError|ImportError|No module named",
    "class": r"ClassNotFoundException|NoClassDefFoundError|Failed to load class|NoSuchMethodError|ClassNotFound",
    "exists": r"PATH_ALREADY_EXISTS|FileAlreadyExists|FileExistsError|TABLE_OR_VIEW_ALREADY_EXISTS|already exists",
    "file": (
        r"FileNotFound|PATH_NOT_FOUND|NoSuchKey|No such file or directory|Path does not exist|Input path does not|"
        r"NoSuchFile|\(404\)|InvalidInputException|File (?:\S+ ){1,9}does not exist"
    ),
    "command": r"command not found|: not found$",
    "syntax": r"SyntaxError|IndentationError|TabError|ParseException|PARSE_SYNTAX_ERROR|syntax error",
    "table": r"UNRESOLVED_COLUMN|TABLE_OR_VIEW_NOT_FOUND|AnalysisException|NoSuchTable",
    "network": r"UnknownHost|Connection refused|ConnectException|SocketTimeout|Could not resolve host|timed out",
    "setting": (
        r"must be at least|INVALID_CONF|INVALID_DRIVER_MEMORY|INVALID_EXECUTOR_MEMORY|"
        r"(?<![\w.])spark\.[\w.]+ (?:\S+ ){0,9}(should|must)"
    ),
}
#: Exceptions that only report that something else has failed.
_POINTERS = re.compile(
    r"finished with failed status|Application application_\d+_\d+ failed|User application exited with|"
    r"SparkUserAppException|Command exiting with ret|ExitCodeException"
)
#: Lines of a log that are irrelevant for a failure.
_NOISE = re.compile(
    rf"^\s*$|{BEFORE_LEVEL}(INFO|WARN|WARNING|DEBUG|TRACE)\b|^\[?(INFO|DEBUG|TRACE)[\]:]|^\s+at |"
    r"^Command exiting with ret|^\+ |^SLF4J: |^\[notice\]|^WARNING:|^DEPRECATION|Using Spark's default log4j|"
    r"Setting default log level|To adjust logging level|^:: |^Driver stacktrace"
)
#: Lines that EMR's step runner writes into the controller log about every step, with and without time stamps, and the
#: environment of the step, which is indented. What is left is why the step could not be started.
_CONTROLLER = re.compile(rf"(?:{STAMP}\s+|^)(INFO|WARN|DEBUG|TRACE)\b|^\s")
#: The step's command in these lines, which may have several lines itself.
_COMMAND = re.compile(
    rf"^.*(startExec '|child process to complete : |ended with exit code ).*(\n(?!(INFO|WARN)\b|{STAMP[1:]}).*)*",
    re.MULTILINE,
)
_EXIT_CODE = re.compile(r"Step failed with exitCode (-?\d{1,10})\b")
#: Lines of shells and tools that report an error.
_ERROR_LINE = re.compile(
    r"(?i)\berror\b|\bfatal\b|command not found|no such file|permission denied|cannot |can't |failed|not found|"
    r"does not exist|unable to"
)


def probable_cause(logs: Sequence[Log]) -> Cause | None:
    """The probable cause of a failure; None if the logs show none.

    Args:
        logs: the most informative ones first; of two causes with the same rank, the one in the earlier log is taken.
    """
    candidates = [one for log in logs for one in _candidates(log)]
    if not candidates:
        return None
    best = max(rank for rank, _ in candidates)
    return next(cause for rank, cause in candidates if rank == best)


def exit_code(logs: Sequence[Log]) -> int | None:
    """The exit code of a step according to its controller log."""
    found = [match for log in logs if log.name == "controller" for match in _EXIT_CODE.finditer(log.text)]
    return int(found[-1][1]) if found else None


def _candidates(log: Log) -> Iterable[tuple[int, Cause]]:
    """Causes that a log shows, each with a rank: the higher, the more specific."""
    lines = lines_of(log.text)
    chains = python_chains(lines)
    java = java_chains(lines)
    if killed := next(filter(None, map(_killed, lines)), None):
        yield 6, Cause("memory", _plain(killed), place=_python_place(chains), log=log.uri)
    if chains:
        raised = _innermost_python(chains, java)
        yield 5 if raised.place else 4, _cause(raised, log)
    trusted = [chain for chain in java if not _POINTERS.search(f"{chain[0].name} {chain[0].message}")]
    if trusted:
        ended = [chain for chain in trusted if chain[-1].top] or trusted
        raised = ended[-1][-1]
        yield 4 if raised.top else 3, _cause(raised, log)
    text = "\n".join(lines)
    if skipped := _SKIPPED.search(text):
        yield 3, Cause("file", _plain(skipped[0].removesuffix(", skipping")), log=log.uri)
    yield from _lines(log, text)


def _killed(line: str) -> str | None:
    if _KILLED_LINE.search(line):
        return line
    found = _KILLED.search(line)
    return line[found.start() :] if found else None


def _innermost_python(chains: list[list[Raised]], java: list[list[Raised]]) -> Raised:
    """The root cause of the traceback that ended the program.

    A worker's traceback follows within the driver's; Java's stack trace within that of py4j.
    """
    last = chains[-1]
    innermost = last[0]  # the first of a chain; its place is that of the nearest exception that has one
    place = next((one.place for one in last if one.place), None) or _python_place(chains)
    if innermost.short not in {"Py4JJavaError", "Py4JError"}:
        return innermost if innermost.place else replace(innermost, place=place)
    behind = [chain for chain in java if chain[0].line >= innermost.line and chain[-1].short != "Py4JJavaError"]
    if not behind:
        return innermost
    return replace(behind[-1][-1], place=behind[-1][-1].place or place)


def _python_place(chains: list[list[Raised]]) -> str | None:
    return next((one.place for chain in reversed(chains) for one in chain if one.place), None)


def _cause(raised: Raised, log: Log) -> Cause:
    text = f"{raised.name}: {raised.message}"
    return Cause(_kind(text) or "code", _plain(raised.message), raised.short, raised.place, log.uri)


def _lines(log: Log, text: str) -> Iterable[tuple[int, Cause]]:
    """Without a stack trace: the last line that reports an error, else the last relevant line."""
    text = _COMMAND.sub("", text) if log.name == "controller" else text
    relevant = [line for line in text.splitlines() if not _NOISE.search(line) and not _POINTERS.search(line)]
    if log.name == "controller":
        relevant = [line for line in relevant if not _CONTROLLER.search(line)]
    errors = [line for line in relevant if _ERROR_LINE.search(line) and "Exception" not in line]
    if errors:
        kinds = [line for line in errors if _kind(line)]
        line = (kinds or errors)[-1]
        yield 2 if kinds else 1, Cause(_kind(line) or "unknown", _plain(line), log=log.uri)
    elif relevant:
        yield 0, Cause(_kind(relevant[-1]) or "unknown", _plain(relevant[-1]), log=log.uri)


def _kind(text: str) -> str | None:
    return next((kind for kind, pattern in _KINDS.items() if re.search(pattern, text)), None)


def _plain(text: str) -> str:
    """At most six lines of a message, without log prefix and query plan."""
    message = _QUERY_PLAN.sub("", text.strip())
    message = re.sub(rf"{BEFORE_LEVEL}[A-Z]{{4,7}}\]?\s+([\w$.]+: |[\w$.]+ - |- )?", "", message)
    lines = [line.rstrip() for line in message.splitlines() if line.strip()]
    return cut("\n".join(lines[:6]), MESSAGE)
