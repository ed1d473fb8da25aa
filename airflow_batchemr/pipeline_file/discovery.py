"""Find the pipeline files of a folder, and the files that may define a pipeline, without parsing them."""

from __future__ import annotations

import os
import re
from itertools import accumulate
from pathlib import Path

from airflow_batchemr.pipeline_file.reader import MAX_FILE

#: Defaults for all pipeline files of a folder and of its subfolders.
FOLDER_FILE = "defaults.yaml"
#: Suffixes of pipeline files; `.json` files contain Sundial process definitions.
SUFFIXES = (".yaml", ".yml", ".json")

_BLOCK = 65_536
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: Line breaks of YAML that regular expressions do not match with `\n`: a single CR, NEL, LS and PS.
_LINE_BREAK = re.compile(rb"\r(?!\n)|\xc2\x85|\xe2\x80[\xa8\xa9]")
#: Top-level keys that a simple search does not find: flow style, `? key`, merge keys, escapes, byte order marks (which
#: libyaml skips in front of any line), and files that are indented as a whole. (Using `^` instead of `\n` would make
#: these searches ten times slower.)
_UNUSUAL = re.compile(rb"""\n(?:[{?*&!<]|\xef\xbb\xbf|---[ \t]+[^\s#]|"[^"\n]*\\)""")
_INDENTED = re.compile(rb"(?:\n(?:---)?[ \t\r]*(?:#.*)?)*\n[ \t]+[^\s#]")


def find_files(path: str | os.PathLike[str]) -> list[Path]:
    """The pipeline files of a folder and its subfolders, sorted by path; for a file, the file itself.

    `defaults.yaml`, hidden files and hidden folders are skipped.
    """
    return [Path(file) for file in _found(path)]


def files_for(path: str | os.PathLike[str], name: str) -> list[Path]:
    """The pipeline files that may define a pipeline, sorted by path: files with its name, and files with its key.

    Files for which this cannot be determined without parsing are included. Each file is read at most once.
    """
    search = _NameSearch(name)
    ends = tuple(f"{os.sep}{name}{suffix}" for suffix in SUFFIXES)
    return [Path(file) for file in _found(path) if file.endswith(ends) or search.contained_in(file) is not False]


def _found(path: str | os.PathLike[str]) -> list[str]:
    if not os.path.isdir(path):  # noqa: PTH112
        return [os.fspath(path)]
    found = []
    for folder, inner, names in os.walk(path):
        inner[:] = sorted(name for name in inner if not name.startswith((".", "__")))
        start = os.path.join(folder, "")  # noqa: PTH118
        found += [
            start + name
            for name in names
            if name.endswith(SUFFIXES) and not name.startswith(".") and name != FOLDER_FILE
        ]
    return sorted(found, key=lambda file: file.split(os.sep))  # noqa: PTH206 - the order of Paths, but faster


def _content(file: str) -> bytes | None:
    """The bytes of a file, None if it cannot be read or is too large. `open()` would take twice as long."""
    try:
        # Without O_NONBLOCK, a named pipe would block
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        try:
            content = b""
            while len(content) <= MAX_FILE and (part := os.read(descriptor, _BLOCK)):
                content += part
        finally:
            os.close(descriptor)
    except OSError:
        return None
    return content if len(content) <= MAX_FILE else None


class _NameSearch:
    """Searches files for a pipeline's name.

    In YAML, the key is the name or a prefix of it, because a matrix appends `_value` to the key. For Sundial's JSON,
    the importer replaces each run of unsupported characters by `-` and may append a number.
    """

    def __init__(self, name: str) -> None:
        prefixes = [start.encode() for start in accumulate(name.split("_"), "{}_{}".format)]
        self._key = re.compile(rb"""\n(["']?)(?:%s)\1[ \t]*:""" % b"|".join(map(re.escape, prefixes)))
        self._prefixes = prefixes
        parts = re.sub(r"-[0-9]+$", "", name).split("-")
        self._part = b"" if parts == ["process"] else max(parts, key=len).encode()

    def contained_in(self, file: str) -> bool | None:
        """Whether a file defines the pipeline; None if this cannot be determined without parsing."""
        raw = _content(file)
        if raw is None:
            return None  # reported when the file is loaded
        if file.endswith(".json"):
            return None if self._part in raw or b"\\u" in raw else False
        if b"\\" not in raw and not any(key in raw for key in self._prefixes):
            return False
        raw = b"\n" + raw.removeprefix(_BYTE_ORDER_MARK)
        if self._key.search(raw):
            return True
        return None if any((_UNUSUAL.search(raw), _INDENTED.match(raw), _LINE_BREAK.search(raw))) else False
