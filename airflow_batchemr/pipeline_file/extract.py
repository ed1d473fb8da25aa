"""Extract the text of one pipeline from a file without parsing the others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file.known_keys import RESERVED

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A line without indentation that is not a comment.
_LINE = re.compile(r"(?:\A|\n)([^ \t\r\n#][^\n]*)")
#: A plain key. Anything else without indentation (documents, quotes, lists, flow style, …) requires a full parse.
_KEY = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*)[ \t]*:(?:[ \t\r]|\Z)")
#: A document start at the beginning of a file.
_START = re.compile(r"---(?:[ \t]+#.*|[ \t\r]*)")
_INDENTED = re.compile(r"^[ \t]+[^\s#]", re.MULTILINE)
_ANCHOR = re.compile(r"(?:^|[\s\[{,:-])&[A-Za-z0-9_]", re.MULTILINE)


def _top_level_keys(text: str) -> list[tuple[str, int]] | None:
    """The top-level keys of a file and their offsets; None if finding them requires a full parse."""
    if text.count("\r") != text.count("\r\n") or any(mark in text for mark in "\x85\u2028\u2029"):
        return None  # line breaks in YAML
    found: list[tuple[str, int]] = []
    started = False
    for line in _LINE.finditer(text):
        key = _KEY.match(line[1])
        if key:
            found.append((key[1], line.start(1)))
        elif started or found or not _START.fullmatch(line[1]):
            return None
        else:
            started = True
    if _INDENTED.search(text, 0, found[0][1] if found else len(text)):
        return None
    return found


def extract_entries(text: str, names: Sequence[str], *, reserved: bool = False, blank: bool = True) -> str | None:
    """Extract top-level entries from a file.

    Args:
        text: the text of the file.
        names: names of pipelines; one that is created by a matrix matches the entry whose key its name starts with.
        reserved: also extract `defaults`, `env` and `vars`.
        blank: replace omitted entries by empty lines, to keep line numbers.

    Returns:
        the text, empty if there is no such entry; None if the file requires a full parse.
    """
    keys = _top_level_keys(text)
    if keys is None or ("&" in text and _ANCHOR.search(text)):
        return None
    parts, at, found = [], 0, 0
    for index, (key, start) in enumerate(keys):
        named = any(key == name or name.startswith(f"{key}_") for name in names)
        if not (named or (reserved and key in RESERVED)):
            continue
        found += named
        end = keys[index + 1][1] if index + 1 < len(keys) else len(text)
        if blank:
            parts.append("\n" * text.count("\n", at, start))
        parts.append(text[start:end])
        at = end
    return "".join(parts) if found else ""


def pipeline_names(text: str) -> list[str]:
    """The pipeline names of a file that `extract_entries` supports."""
    return [name for name in dict(_top_level_keys(text) or ()) if name not in RESERVED]
