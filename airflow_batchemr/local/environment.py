"""Environment variables of commands."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["job_environment"]

#: Variables that commands inherit from this process. All others, including credentials, are hidden as in a container.
INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "JAVA_HOME", "LD_LIBRARY_PATH", "PYENV_ROOT", "PYTHONPATH")

#: EMR commands and the scripts that implement them.
COMMANDS = {"s3-dist-cp": "s3_dist_cp.py", "spark-submit": "spark/submit.py", "hadoop": "spark/hadoop.py"}


def job_environment(aws: Mapping[str, str], path: Sequence[str], root: Path) -> dict[str, str]:
    """Return the base environment of all commands.

    Args:
        aws: Endpoint, credentials and region of the local AWS.
        path: First folders of PATH, followed by our commands, this Python's folder and the caller's PATH.
        root: Folder for an empty AWS configuration file and our commands.
    """
    nothing = root / "no-aws-config"
    nothing.touch()
    folders = [
        *path,
        str(_own_commands(root / "bin")),
        str(Path(sys.executable).parent),
        os.environ.get("PATH", os.defpath),
    ]
    return {
        **{name: os.environ[name] for name in INHERITED if name in os.environ},
        "PATH": os.pathsep.join(folders),
        "AWS_CONFIG_FILE": str(nothing),
        "AWS_SHARED_CREDENTIALS_FILE": str(nothing),
        "AWS_EC2_METADATA_DISABLED": "true",
        # The Java SDK reads this variable.
        "AWS_REGION": aws["AWS_DEFAULT_REGION"],
        **aws,
    }


def _own_commands(folder: Path) -> Path:
    """Create a folder with the EMR commands that are part of this package, each run by this Python."""
    folder.mkdir(exist_ok=True)
    for name, script in COMMANDS.items():
        command = shlex.join([sys.executable, str(Path(__file__).parent / script)])
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / name).chmod(0o755)
    return folder
