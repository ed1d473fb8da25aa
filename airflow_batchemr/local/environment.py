"""Environment variables of commands."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_batchemr.local.private_files import private_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["job_environment"]

#: Variables that commands inherit from this process. All others, including credentials, are hidden as in a container.
INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "JAVA_HOME", "LD_LIBRARY_PATH", "PYENV_ROOT", "PYTHONPATH")

#: EMR commands and the Python scripts that implement them.
COMMANDS = {
    "s3-dist-cp": "s3_dist_cp.py",
    "hadoop-streaming": "hadoop_streaming.py",
    "spark-submit": "spark/submit.py",
    "hadoop": "spark/hadoop.py",
}
#: `sudo` without more rights: skips its options and assignments, and runs the command as this user.
SUDO = r"""
while [ $# -gt 0 ]; do
    case "$1" in
        -u | -g | -p | -C | -h | -D | -R | -T) shift 2 ;;
        --) shift; break ;;
        -*) shift ;;
        *=*) export "$1"; shift ;;
        *) break ;;
    esac
done
[ $# -eq 0 ] || exec "$@"
"""
#: Shell scripts for commands that have another effect, or none, on this machine than on a node of EMR.
SCRIPTS = {
    # The step that enables debugging in the console
    "state-pusher-script": "exit 0",
    # Nodes grant it without a password; a bootstrap action must not change this machine
    "sudo": SUDO,
    # Bootstrap actions of mrjob end idle clusters in this way
    "shutdown": "echo 'shutdown: the local EMR does not shut down this machine' >&2; exit 1",
}


def job_environment(aws: Mapping[str, str], path: Sequence[str], root: Path) -> dict[str, str]:
    """Return the base environment of all commands.

    Args:
        aws: Endpoint, credentials and region of the local AWS.
        path: First folders of PATH, followed by our commands, this Python's folder and the caller's PATH.
        root: Folder for an empty AWS configuration file and our commands.
    """
    nothing = root / "no-aws-config"
    write_private(nothing, "")
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
    """Create a folder with the commands of EMR's nodes that are part of this package."""
    private_folder(folder)
    for name, script in COMMANDS.items():
        command = shlex.join([sys.executable, str(Path(__file__).parent / script)])
        _write_command(folder / name, f'exec {command} "$@"')
    for name, script in SCRIPTS.items():
        _write_command(folder / name, script)
    return folder


def _write_command(path: Path, script: str) -> None:
    write_private(path, f"#!/bin/sh\n{script}\n", 0o700)
