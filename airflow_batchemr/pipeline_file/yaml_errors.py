"""Readable messages for PyYAML's syntax errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from airflow_batchemr.pipeline_file.source_position import SourcePosition

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.errors import PipelineFileError
    from airflow_batchemr.pipeline_file.reader import Document

_SYNTAX = (
    ("found character that cannot start any token", "\t", "tabs are not allowed for indentation", "use spaces"),
    (
        "found character that cannot start any token",
        "%@`",
        "text that starts with {char} must be quoted",
        "put it in quotes",
    ),
    (
        "mapping values are not allowed",
        "",
        "unexpected `:`",
        "quote text that contains `: `, or add the `:` that is missing on the line above",
    ),
    (
        "could not find expected ':'",
        "",
        "expected `key: value`",
        "add the missing `:`, or fix the indentation of the line",
    ),
    ("found unexpected end of stream", "", "unclosed quote", "close it, or double a quote inside the text"),
    (
        "found undefined alias",
        "",
        "undefined anchor",
        "define the anchor with `&name` above, or quote text that starts with *",
    ),
    (
        "but found another document",
        "",
        "a second document starts here, but a file may contain only one",
        "remove the `---`",
    ),
    (
        "did not find expected key",
        "",
        "the indentation does not match any line above",
        "align the line with the other keys of its block",
    ),
    (
        "did not find expected '-' indicator",
        "",
        "this line is not part of the list above",
        "indent it, or start it with `-`",
    ),
    ("block sequence entries are not allowed", "", "a list cannot start here", "start it on a new line"),
    ("did not find expected ',' or ']'", "", "expected `,` or `]`", "close the list with `]`"),
    ("did not find expected ',' or '}'", "", "expected `,` or `}`", "close the mapping with `}`"),
)


#: Git's conflict markers.
_CONFLICT = re.compile(r"^(?:<<<<<<< |>>>>>>> )", re.MULTILINE)


def syntax(document: Document, error: yaml.MarkedYAMLError) -> PipelineFileError:
    """Describe a syntax error at its position."""
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "syntax error"
    if "unexpected end of stream" in problem and error.context_mark is not None:
        mark = error.context_mark
    position = SourcePosition(mark.line + 1, mark.column + 1) if mark is not None else None
    lines = document.text.split("\n")
    line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    char = line[mark.column] if mark is not None and mark.column < len(line) else ""
    if conflict := _CONFLICT.search(document.text):
        first = SourcePosition(document.text.count("\n", 0, conflict.start()) + 1, 1)
        return document.error(
            "invalid YAML: unresolved Git merge conflict", "keep one of the two versions and remove the markers", first
        )
    if "{{" in line and "flow" in (error.context or ""):
        hint = "quote text that contains a template: '{{ ds }}'"
        return document.error("invalid YAML: an unquoted `{` starts a mapping", hint, position)
    if "while scanning an alias" in (error.context or ""):
        hint = "put it in quotes, as in `schedule: '*/15 * * * *'`"
        return document.error("invalid YAML: an unquoted `*` starts an alias", hint, position)
    if mark is not None and "did not find expected key" in problem and line[: mark.column].strip():
        hint = "double the quotes inside quoted text, and quote the text to its end"
        return document.error("invalid YAML: unexpected text after the closing quote", hint, position)
    if "did not find expected key" in problem and char == "-":
        return document.error("invalid YAML: list item between keys", "indent it below its key", position)
    for text, chars, message, hint in _SYNTAX:
        if text in problem and (not chars or (char and char in chars)):
            start = error.context_mark
            opened = (
                f" (opened on line {start.line + 1})" if start is not None and "flow" in (error.context or "") else ""
            )
            return document.error(f"invalid YAML: {message.replace('{char}', char)}{opened}", hint, position)
    context = f" ({error.context})" if error.context and error.context != problem else ""
    return document.error(f"invalid YAML: {problem}{context}", None, position)


def unreadable(document: Document, error: yaml.YAMLError) -> PipelineFileError:
    """Describe a character that YAML does not allow, at its position."""
    if isinstance(error, yaml.reader.ReaderError):
        for number, line in enumerate(document.text.split("\n"), 1):
            match = re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]", line)
            if match:
                position = SourcePosition(number, match.start() + 1)
                message = f"invalid YAML: control character (#x{ord(match[0]):02x})"
                return document.error(message, "remove it", position)
    return document.error(f"invalid YAML: {error}")
