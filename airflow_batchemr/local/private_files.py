"""Folders and files that only this user can read, whatever the umask: they contain keys, secrets and output of jobs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["private_folder", "root_folder", "tighten", "write_private"]


def root_folder(path: Path) -> Path:
    """Create the folder of a local AWS, or make an existing one inaccessible to other users.

    Raises:
        OSError: It belongs to another user, or is a shared folder such as /tmp, in which others can create files.
    """
    path = Path(path)
    if path.is_dir():
        found = path.stat()
        if found.st_uid != os.getuid():
            raise PermissionError(f"the folder {path} belongs to another user: choose one of your own")
        if found.st_mode & stat.S_ISVTX:
            raise PermissionError(f"the folder {path} is shared with other users: choose one of your own")
        path.chmod(0o700)
        return path
    return private_folder(path)


def private_folder(path: Path) -> Path:
    """Create a folder with mode 0700, and its missing parents.

    Raises:
        OSError: It exists and is a symbolic link, or it belongs to another user.
    """
    try:
        path.mkdir(mode=0o700)
    except FileNotFoundError:
        private_folder(path.parent)
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise FileExistsError(f"{path} is not a folder of this user: remove it, or choose another root") from None
    path.chmod(0o700)  # the umask may have removed more
    return path


def write_private(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Write a file. A symbolic link in its place is an error."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # the file may exist with another mode
        file.write(content.encode() if isinstance(content, str) else content)


def tighten(folder: Path) -> None:
    """Remove the rights of other users to a folder and all that is below it."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)
