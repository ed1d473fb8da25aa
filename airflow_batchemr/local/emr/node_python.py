"""The Python of a cluster, in which its bootstrap actions and steps install packages."""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
import venv
from pathlib import Path

from airflow_batchemr.local.private_files import tighten

__all__ = ["create", "path_with"]


def create(folder: Path) -> None:
    """Create a virtual environment that also has the packages of this Python.

    `pip` is this environment's, but installs into the new one.
    """
    venv.EnvBuilder(symlinks=True).create(folder)
    packages = next(folder.glob("lib/python*/site-packages"))
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    lines = [f"import site; site.addsitedir({each!r})\n" for each in sorted(ours)]
    (packages / "parent.pth").write_text("".join(lines))
    for name in ("pip", "pip3"):
        pip = folder / "bin" / name
        pip.write_text(f'#!/bin/sh\nexec {shlex.quote(str(folder))}/bin/python3 -m pip "$@"\n')
        pip.chmod(0o755)
    tighten(folder)


def path_with(folder: Path, path: str) -> str:
    """Return a PATH on which the commands of the environment take the place of this Python's."""
    ours = str(Path(sys.executable).parent)
    folders = path.split(os.pathsep)
    place = folders.index(ours) if ours in folders else len(folders)
    return os.pathsep.join([*folders[:place], str(folder / "bin"), *folders[place:]])
