"""Exceptions in logs: Python tracebacks and Java stack traces, with the place in the user's own code."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_batchemr.core.log_lines import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Maximum length of an exception's message, of its class and of its place, in characters.
MESSAGE, NAME = 600, 200
_PYTHON = re.compile(r"Traceback \(most recent call last\):\s*$")
_FRAME = re.compile(r'^\s+File "([^"]+)", line (\d+)(?:, in (.+))?$')
_RAISED = re.compile(r"^([A-Za-z_][\w.]*)(?:: ?(.*))?$")
_LINKS = ("The above exception was the direct cause", "During handling of the above exception")
#: Time stamp at the beginning of a line: `26/11/20 01:02:34` (Spark), `2026-11-20 01:02:34,684` (Hadoop, Hive),
#: `2026-11-20T01:02:34.684Z` (EMR's own logs), or `01:02:34.684` (log4j2's default).
STAMP = r"^\[?(?:(?:\d\d/\d\d/\d\d|\d{4}-\d\d-\d\d)[ T])?\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?"
#: What precedes the level: the stamp, and a thread in brackets (log4j, log4j2) or a logger's name and a dash (Python).
BEFORE_LEVEL = rf"{STAMP}[\s-]+(?:\[[^\]]*\]\s+|[\w.]+ - )?\[?"
#: A line of log4j begins a new message.
_LOG_LINE = re.compile(STAMP)
_PYTHON_LIBRARIES = re.compile(r"site-packages|dist-packages|\.zip/|/lib/python\d|/usr/lib/spark|<frozen|<string>")

#: A match begins only where a name begins: otherwise, the time would be quadratic in the length of a name.
_JAVA_NAME = re.compile(
    r"(?<![\w$.])((?:[A-Za-z_$][\w$]*\.)+[A-Z][\w$]*(?:Exception|Error|Throwable|Interrupt))(?=[:\s]|$)", re.ASCII
)
_JAVA_FRAME = re.compile(r"^\s+at (?:[\w.@-]+/)*([\w.$<>]+)\(([^)]*)\)")
_JAVA_LIBRARIES = re.compile(
    r"^(java|javax|jdk|sun|scala|py4j|akka|io\.netty|org\.apache|org\.spark|org\.codehaus|com\.amazon|com\.google|"
    r"com\.fasterxml|com\.esotericsoftware|com\.univocity|software\.amazon)"
    r"[.\w]*\."
)
_SYNTAX = re.compile(r"((?:Syntax|Indentation|Tab)Error): (.*)")


@dataclass(frozen=True)
class Raised:
    """One exception."""

    name: str
    """Its class, as in the log."""
    message: str
    place: str | None
    """`file:line in function` of the user's own code; None if none of it is in the trace."""
    line: int
    """Its line in the log, from 0."""
    top: bool = False
    """Whether it ended the program, according to the log."""

    @property
    def short(self) -> str:
        """The class without its package."""
        return self.name.rpartition(".")[2]


@dataclass
class _Java:
    name: str
    message: list[str]
    line: int
    top: bool
    frames: list[tuple[str, str]] = field(default_factory=list)

    def raised(self) -> Raised:
        message = cut("\n".join(self.message).strip(), MESSAGE)
        return Raised(_short(self.name), message, _java_place(self.frames), self.line, self.top)


def python_chains(lines: Sequence[str]) -> list[list[Raised]]:
    """Tracebacks in order. Chained exceptions form one chain, with the root cause first."""
    chains: list[list[Raised]] = []
    for number, line in enumerate(lines):
        if not _PYTHON.search(line):
            continue
        raised = _python(lines, number)
        if raised is None:
            continue
        before = " ".join(lines[max(0, number - 4) : number])
        if chains and any(link in before for link in _LINKS):
            chains[-1].append(raised)
        else:
            chains.append([raised])
    return chains + _syntax_errors(lines)


def _syntax_errors(lines: Sequence[str]) -> list[list[Raised]]:
    """Errors of the parser, which have no traceback: the file comes two to four lines before the message."""
    chains = []
    for number, line in enumerate(lines):
        if match := _SYNTAX.match(line):
            for before in range(number - 2, max(number - 5, -1), -1):
                if (frame := _FRAME.match(lines[before])) and not frame[3]:
                    place = _short(f"{posixpath.basename(frame[1])}:{frame[2]}")
                    chains.append([Raised(match[1], cut(match[2], MESSAGE), place, before, top=True)])
                    break
    return chains


def _python(lines: Sequence[str], start: int) -> Raised | None:
    place: str | None = None
    for number in range(start + 1, min(start + 400, len(lines))):
        line = lines[number]
        if frame := _FRAME.match(line):
            if not _PYTHON_LIBRARIES.search(frame[1]):
                where = f" in {frame[3]}" if frame[3] and frame[3] != "<module>" else ""
                place = _short(f"{posixpath.basename(frame[1])}:{frame[2]}{where}")
            continue
        if _PYTHON.search(line):
            return None
        if line.startswith((" ", "\t")) or not line:
            continue
        match = _RAISED.match(line)
        if match is None:
            return None
        return Raised(_short(match[1]), _python_message(lines, number, match[2] or ""), place, start, top=True)
    return None


def _python_message(lines: Sequence[str], number: int, first: str) -> str:
    message = [first]
    for line in lines[number + 1 : number + 12]:
        if not line.strip() and message != [""]:
            break
        if line.startswith("\tat ") or _LOG_LINE.match(line) or _PYTHON.search(line):
            break
        message.append(line)
    return cut("\n".join(message).strip(), MESSAGE)


def java_chains(lines: Sequence[str]) -> list[list[Raised]]:
    """Stack traces in order; each chain ends with the root cause."""
    chains: list[list[_Java]] = []
    header: _Java | None = None
    for number, line in enumerate(lines):
        if frame := _JAVA_FRAME.match(line):
            if header is not None:
                chains.append([header])
                header = None
            if chains:
                chains[-1][-1].frames.append((frame[1], frame[2]))
            continue
        if line.startswith("Caused by: ") and chains:
            caused = _header(line, number)
            if caused is not None:
                chains[-1].append(caused)
                continue
        found = _header(line, number)
        if found is not None:
            header = found
        elif header is not None and not _LOG_LINE.match(line) and len(header.message) < 12:
            header.message.append(line)
        elif chains and not chains[-1][-1].frames and not _LOG_LINE.match(line):
            chains[-1][-1].message.append(line)
        else:
            header = None
    made = [[one.raised() for one in chain] for chain in chains]
    if header is not None:
        made.append([header.raised()])
    return [_placed(chain) for chain in made]


def _header(line: str, number: int) -> _Java | None:
    names = list(_JAVA_NAME.finditer(line))
    if not names:
        return None
    last = names[-1]
    # `…Exception: org.x.YException: message`: the last class before the message is the cause
    message = line[last.end() :].removeprefix(":").strip()
    top = 'Exception in thread "' in line or "User class threw exception" in line
    return _Java(last[1], [message], number, top)


def _placed(chain: list[Raised]) -> list[Raised]:
    """If the innermost exception has no place in the user's code, use that of the nearest enclosing one."""
    place = next((one.place for one in reversed(chain) if one.place), None)
    top = any(one.top for one in chain)
    return [*chain[:-1], replace(chain[-1], place=chain[-1].place or place, top=top)]


def _java_place(frames: list[tuple[str, str]]) -> str | None:
    for method, source in frames:
        if not _JAVA_LIBRARIES.match(method) and ":" in source:
            return _short(f"{source} in {'.'.join(method.split('.')[-2:])}")
    return None


def _short(name: str) -> str:
    """The end of a name, which tells more than its beginning."""
    return name if len(name) <= NAME else f"…{name[-NAME:]}"
