"""PyYAML's errors, told so that they help."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from airflow_batchemr.pipeline_file.source_position import SourcePosition

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.errors import PipelineFileError
    from airflow_batchemr.pipeline_file.reader import Document

_SYNTAX = (
    ("found character that cannot start any token", "\t", "YAML takes no tabs for indentation", "use spaces"),
    (
        "found character that cannot start any token",
        "%@`",
        "text cannot begin with {char} unless it is quoted",
        "put it in quotes",
    ),
    (
        "mapping values are not allowed",
        "",
        "a `:` that YAML did not expect here",
        "text that holds `: ` is put in quotes; or a `:` is missing in the line above",
    ),
    ("could not find expected ':'", "", "expected `key: value`", "a `:` is missing, or the line is not indented right"),
    ("found unexpected end of stream", "", "the quote is never closed", "close it, or double a quote inside"),
    (
        "found undefined alias",
        "",
        "no anchor of this name",
        "an anchor is set with `&name` further up; quote text with *",
    ),
    ("but found another document", "", "a file is one document, and a second one begins here", "remove the `---`"),
    (
        "did not find expected key",
        "",
        "the indentation fits nothing above",
        "begin the line under the one it belongs to",
    ),
    (
        "did not find expected '-' indicator",
        "",
        "the list ends here, and this fits nothing",
        "indent it, or begin it with `-`",
    ),
    ("block sequence entries are not allowed", "", "a list cannot begin here", "begin it on a line of its own"),
    ("did not find expected ',' or ']'", "", "expected `,` or `]`", "a list that begins with `[` ends with `]`"),
    ("did not find expected ',' or '}'", "", "expected `,` or `}`", "a mapping that begins with `{` ends with `}`"),
)


#: The lines that git leaves where it could not merge.
_CONFLICT = re.compile(r"^(?:<<<<<<< |>>>>>>> )", re.MULTILINE)


def syntax(document: Document, error: yaml.MarkedYAMLError) -> PipelineFileError:
    """What PyYAML found, in words that help, at its place."""
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "this is not YAML"
    if "unexpected end of stream" in problem and error.context_mark is not None:
        mark = error.context_mark
    place = SourcePosition(mark.line + 1, mark.column + 1) if mark is not None else None
    lines = document.text.split("\n")
    line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    char = line[mark.column] if mark is not None and mark.column < len(line) else ""
    if conflict := _CONFLICT.search(document.text):
        first = SourcePosition(document.text.count("\n", 0, conflict.start()) + 1, 1)
        return document.error("not YAML: a merge conflict of git", "choose one of the two versions", first)
    if "{{" in line and "flow" in (error.context or ""):
        hint = "put text that holds a template in quotes: '{{ ds }}'"
        return document.error("not YAML: `{` begins a mapping unless it is quoted", hint, place)
    if "while scanning an alias" in (error.context or ""):
        hint = "put it in quotes, as in `schedule: '*/15 * * * *'`"
        return document.error("not YAML: `*` begins an alias unless it is quoted", hint, place)
    if mark is not None and "did not find expected key" in problem and line[: mark.column].strip():
        hint = "a quote inside of a quoted text is doubled; text that begins with a quote ends with it"
        return document.error("not YAML: text after the end of a value", hint, place)
    if "did not find expected key" in problem and char == "-":
        return document.error("not YAML: a list item among keys", "indent it below the key it belongs to", place)
    for said, chars, message, hint in _SYNTAX:
        if said in problem and (not chars or (char and char in chars)):
            start = error.context_mark
            begun = (
                f" (begun in line {start.line + 1})" if start is not None and "flow" in (error.context or "") else ""
            )
            return document.error(f"not YAML: {message.replace('{char}', char)}{begun}", hint, place)
    context = f" ({error.context})" if error.context and error.context != problem else ""
    return document.error(f"not YAML: {problem}{context}", None, place)


def unreadable(document: Document, error: yaml.YAMLError) -> PipelineFileError:
    """A character that YAML does not take, at its place."""
    if isinstance(error, yaml.reader.ReaderError):
        for number, line in enumerate(document.text.split("\n"), 1):
            match = re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]", line)
            if match:
                place = SourcePosition(number, match.start() + 1)
                return document.error(f"not YAML: a control character (#x{ord(match[0]):02x})", "remove it", place)
    return document.error(f"not YAML: {error}")
