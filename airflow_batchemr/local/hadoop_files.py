"""Files of Hadoop commands of the local EMR: in S3, in the cluster's HDFS (a local folder), or on this machine.

Imported by scripts of this folder that use the standard library and boto3 only.
"""

from __future__ import annotations

import bz2
import fnmatch
import gzip
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Files", "HadoopError"]

GLOB = re.compile(r"[*?\[]")


class HadoopError(Exception):
    """A job cannot run, or has failed, with Hadoop's message."""


class Files:
    """Reads and writes files by their URI."""

    def __init__(self) -> None:
        self._client: Any = None

    def inputs(self, uri: str) -> list[str]:
        """Return the URIs of the files of an input: a file, a folder or a glob pattern. Hidden files are left out.

        Raises:
            HadoopError: There is no such file, or a folder has subfolders.
        """
        pattern = uri.rstrip("/")
        base = pattern[: found.start()].rpartition("/")[0] + "/" if (found := GLOB.search(pattern)) else pattern
        names = self.names(base)
        if found:
            depth = pattern.count("/")
            matched = {name for name in names if fnmatch.fnmatchcase("/".join(name.split("/")[: depth + 1]), pattern)}
            names = [name for name in names if name in matched]
        if not names:
            raise HadoopError(f"Input Pattern {uri} matches 0 files" if found else f"Input path does not exist: {uri}")
        visible = [name for name in names if name.rpartition("/")[2][:1] not in ("", "_", ".")]
        for name in visible:
            if name.count("/") > pattern.count("/") + 1:
                raise HadoopError(f"Not a file: {name.rpartition('/')[0]}")
        return visible

    def names(self, uri: str) -> list[str]:
        """Return the URIs of a file, or of all files below a folder, in order."""
        bucket, path = self._place(uri)
        if bucket is None:
            local = Path(path)
            if not local.is_dir():
                return [uri] if local.exists() else []
            below = sorted(each.relative_to(local).as_posix() for each in local.rglob("*") if each.is_file())
            return [f"{uri.rstrip('/')}/{name}" for name in below]
        pages = self._s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=path.rstrip("/"))
        keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
        scheme, folder = urlsplit(uri).scheme, f"{path.rstrip('/')}/" if path.strip("/") else ""
        return [f"{scheme}://{bucket}/{key}" for key in keys if key == path or key.startswith(folder)]

    def read(self, uri: str) -> bytes:
        """Return the content of a file.

        Raises:
            HadoopError: There is no such file.
        """
        bucket, path = self._place(uri)
        if not self.names(uri):
            raise HadoopError(f"File does not exist: {uri}")
        if bucket is None:
            return Path(path).read_bytes()
        content: bytes = self._s3().get_object(Bucket=bucket, Key=path)["Body"].read()
        return content

    def lines(self, uri: str) -> list[bytes]:
        """Return the lines of a file, each with a newline. Files that end in .gz or .bz2 are decompressed."""
        unpack = {".gz": gzip.decompress, ".bz2": bz2.decompress}.get(Path(uri).suffix, bytes)
        return [line + b"\n" for line in unpack(self.read(uri)).splitlines()]

    def write(self, uri: str, content: bytes) -> None:
        """Write a file."""
        bucket, path = self._place(uri)
        if bucket is None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(content)
        else:
            self._s3().put_object(Bucket=bucket, Key=path, Body=content)

    def delete(self, uri: str) -> None:
        """Delete a file."""
        bucket, path = self._place(uri)
        if bucket is None:
            Path(path).unlink()
        else:
            self._s3().delete_object(Bucket=bucket, Key=path)

    def _s3(self) -> Any:
        if self._client is None:
            import boto3  # slow to import

            self._client = boto3.client("s3")
        return self._client

    @staticmethod
    def _place(uri: str) -> tuple[str | None, str]:
        """Return the bucket and key, or None and the local path."""
        parts = urlsplit(uri)
        if parts.scheme in ("s3", "s3a", "s3n"):
            return parts.netloc, parts.path.lstrip("/")
        if parts.scheme == "file":
            return None, parts.path
        if parts.scheme not in ("hdfs", ""):
            raise HadoopError(f"No FileSystem for scheme {parts.scheme!r}")
        home = "" if parts.path.startswith("/") else "/user/hadoop/"
        return None, os.environ["EMR_HDFS"] + home + parts.path
