"""The pipeline files of a folder, and which of them may hold a pipeline: told by their bytes, none is parsed."""

from __future__ import annotations

import os
import re
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Of a folder: what lies under all pipelines of its files, and of the folders in it.
FOLDER_FILE = "defaults.yaml"
#: Files that are pipelines; `.json` is Sundial's.
SUFFIXES = (".yaml", ".yml", ".json")

_MARK = b"\xef\xbb\xbf"
#: Line breaks of YAML that are none of these regular expressions': CR alone, NEL, LS and PS.
_BREAK = re.compile(rb"\r(?!\n)|\xc2\x85|\xe2\x80[\xa8\xa9]")
#: Where a key may stand that is not at the left margin or not as people write it: flow style, `? key`, merges, escapes;
#: and a file that is indented as a whole. (With `^` these searches would take ten times as long.)
_UNUSUAL = re.compile(rb"""\n(?:[{?*&!<]|---[ \t]+[^\s#]|"[^"\n]*\\)""")
_INDENTED = re.compile(rb"(?:\n(?:---)?[ \t\r]*(?:#.*)?)*\n[ \t]+[^\s#]")


def find_files(path: str | os.PathLike[str]) -> list[Path]:
    """The pipeline files of a folder and the folders in it, in order; a file is the only one of itself.

    `defaults.yaml` belongs to the others and is no pipeline file; hidden folders are left out.
    """
    return [Path(file) for file in _found(path)]


def files_for(path: str | os.PathLike[str], name: str) -> Iterator[Path]:
    """The pipeline files that may hold one pipeline, the likeliest first.

    A file that bears the pipeline's name is not looked into; of the others each is read once, and left out if the name
    cannot come from it. What only parsing can tell comes last.
    """
    found = _found(path)
    ends = tuple(f"{os.sep}{name}{suffix}" for suffix in SUFFIXES)
    yield from (Path(file) for file in found if file.endswith(ends))
    sought = _Sought(name)
    untold = []
    for file in found:
        if not file.endswith(ends):
            holds = sought.stands_in(file)
            if holds:
                yield Path(file)
            elif holds is None:
                untold.append(file)
    yield from map(Path, untold)


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
    return sorted(found, key=lambda file: file.split(os.sep))  # noqa: PTH206 - as Paths are sorted, faster


class _Sought:
    """A pipeline's name, as it may stand in a file.

    In YAML it stands as a key, or one that it begins with does: a matrix adds `_value` to the key. Of a name in JSON,
    Sundial's, each run of other characters has become one `-`, and a number may follow.
    """

    def __init__(self, name: str) -> None:
        beginnings = [start.encode() for start in accumulate(name.split("_"), "{}_{}".format)]
        self._key = re.compile(rb"""\n(["']?)(?:%s)\1[ \t]*:""" % b"|".join(map(re.escape, beginnings)))
        self._beginnings = beginnings
        parts = re.sub(r"-[0-9]+$", "", name).split("-")
        self._part = b"" if parts == ["process"] else max(parts, key=len).encode()

    def stands_in(self, file: str) -> bool | None:
        """Whether a file holds the pipeline; None where that is not told without parsing it."""
        try:
            with open(file, "rb", buffering=0) as opened:  # noqa: PTH123
                raw = opened.read()
        except OSError:
            return None  # told when it is loaded
        if file.endswith(".json"):
            return None if self._part in raw or b"\\u" in raw else False
        if b"\\" not in raw and not any(key in raw for key in self._beginnings):
            return False
        raw = b"\n" + raw.removeprefix(_MARK)
        if self._key.search(raw):
            return True
        return None if any((_UNUSUAL.search(raw), _INDENTED.match(raw), _BREAK.search(raw))) else False
