"""The text of one pipeline out of a file, without parsing the others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file.vocabulary import RESERVED

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A line that begins at the left margin and is no comment.
_LINE = re.compile(r"(?:\A|\n)([^ \t\r\n#][^\n]*)")
#: A key, as people write it; all else at the margin (documents, quotes, lists, flow style, …) is unusual.
_KEY = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*)[ \t]*:(?:[ \t\r]|\Z)")
#: The `---` above a file, which changes nothing.
_START = re.compile(r"---(?:[ \t]+#.*|[ \t\r]*)")
_INDENTED = re.compile(r"^[ \t]+[^\s#]", re.MULTILINE)
_ANCHOR = re.compile(r"(?:^|[\s\[{,:-])&[A-Za-z0-9_]", re.MULTILINE)


def entries(text: str) -> list[tuple[str, int]] | None:
    """The top-level keys of a file and where they begin; None where the text is unusual."""
    if text.count("\r") != text.count("\r\n") or any(mark in text for mark in "\x85\u2028\u2029"):
        return None  # YAML begins a new line there
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


def slice_text(text: str, names: Sequence[str], *, reserved: bool = False, blank: bool = True) -> str | None:
    """The text of some top-level entries.

    Args:
        text: a whole file.
        names: the entries; a pipeline of a matrix is found by the beginning of its name.
        reserved: `defaults`, `env` and `vars` as well.
        blank: what is left out becomes empty lines, so that line numbers stay.

    Returns:
        empty where there is no such entry; None where the text is unusual, so that the whole has to be parsed.
    """
    keys = entries(text)
    if keys is None or ("&" in text and _ANCHOR.search(text)):
        return None
    parts, at, found = [], 0, 0
    for place, (key, start) in enumerate(keys):
        named = any(key == name or name.startswith(f"{key}_") for name in names)
        if not (named or (reserved and key in RESERVED)):
            continue
        found += named
        end = keys[place + 1][1] if place + 1 < len(keys) else len(text)
        if blank:
            parts.append("\n" * text.count("\n", at, start))
        parts.append(text[start:end])
        at = end
    return "".join(parts) if found else ""


def names_in(text: str) -> list[str]:
    """The pipelines of a text that `slice_text` can slice."""
    return [name for name, _ in dict(entries(text) or ()).items() if name not in RESERVED]
