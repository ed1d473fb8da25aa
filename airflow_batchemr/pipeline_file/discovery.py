"""Find the pipeline files of a folder, and the files that may define a pipeline, without parsing them."""

from __future__ import annotations

import os
import re
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Defaults for all pipeline files of a folder and of its subfolders.
FOLDER_FILE = "defaults.yaml"
#: Suffixes of pipeline files; `.json` files contain Sundial process definitions.
SUFFIXES = (".yaml", ".yml", ".json")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: Line breaks of YAML that regular expressions do not match with `\n`: a single CR, NEL, LS and PS.
_LINE_BREAK = re.compile(rb"\r(?!\n)|\xc2\x85|\xe2\x80[\xa8\xa9]")
#: Top-level keys that a simple search does not find: flow style, `? key`, merge keys, escapes, and files that are
#: indented as a whole. (Using `^` instead of `\n` would make these searches ten times slower.)
_UNUSUAL = re.compile(rb"""\n(?:[{?*&!<]|---[ \t]+[^\s#]|"[^"\n]*\\)""")
_INDENTED = re.compile(rb"(?:\n(?:---)?[ \t\r]*(?:#.*)?)*\n[ \t]+[^\s#]")


def find_files(path: str | os.PathLike[str]) -> list[Path]:
    """The pipeline files of a folder and its subfolders, sorted by path; for a file, the file itself.

    `defaults.yaml`, hidden files and hidden folders are skipped.
    """
    return [Path(file) for file in _found(path)]


def files_for(path: str | os.PathLike[str], name: str) -> Iterator[Path]:
    """The pipeline files that may define a pipeline, the most likely first.

    Files with the pipeline's name come first, unread. Then follow the files that contain the name as a key, and last
    the files for which this cannot be determined without parsing. Each file is read at most once.
    """
    found = _found(path)
    ends = tuple(f"{os.sep}{name}{suffix}" for suffix in SUFFIXES)
    yield from (Path(file) for file in found if file.endswith(ends))
    search = _NameSearch(name)
    undetermined = []
    for file in found:
        if not file.endswith(ends):
            contains = search.contained_in(file)
            if contains:
                yield Path(file)
            elif contains is None:
                undetermined.append(file)
    yield from map(Path, undetermined)


def _found(path: str | os.PathLike[str]) -> list[str]:
    if not os.path.isdir(path):  # noqa: PTH112
        return [os.fspath(path)]
    found = []
    for folder, inner, names in os.walk(path):
        inner[:] = sorted(name for name in inner if not name.startswith((".", "__")))
        found += [
            os.path.join(folder, name)  # noqa: PTH118
            for name in names
            if name.endswith(SUFFIXES) and not name.startswith(".") and name != FOLDER_FILE
        ]
    return sorted(found, key=lambda file: file.split(os.sep))  # noqa: PTH206 - the order of Paths, but faster


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
        try:
            with open(file, "rb", buffering=0) as opened:  # noqa: PTH123
                raw = opened.read()
        except OSError:
            return None  # reported when the file is loaded
        if file.endswith(".json"):
            return None if self._part in raw or b"\\u" in raw else False
        if b"\\" not in raw and not any(key in raw for key in self._prefixes):
            return False
        raw = b"\n" + raw.removeprefix(_BYTE_ORDER_MARK)
        if self._key.search(raw):
            return True
        return None if any((_UNUSUAL.search(raw), _INDENTED.match(raw), _LINE_BREAK.search(raw))) else False
