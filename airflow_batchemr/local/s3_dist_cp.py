"""`s3-dist-cp` of the local EMR: copies files between S3 prefixes and the cluster's HDFS. Runs as a script.

HDFS is a local folder of the cluster.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class S3Location:
    """An S3 prefix or a folder."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self.uri = uri.rstrip("/")
        self.s3 = parts.scheme in ("s3", "s3a", "s3n")
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        self.folder = Path(parts.path if parts.scheme == "file" else os.environ["EMR_HDFS"] + parts.path)
        if not self.s3 and parts.scheme not in ("hdfs", "file", ""):
            raise SystemExit(f"s3-dist-cp: {uri}: neither s3://, hdfs:// nor file://")

    def names(self, s3: Any) -> list[str]:
        """Return the relative names of the files below."""
        if not self.s3:
            if not self.folder.exists():
                raise SystemExit(f"s3-dist-cp: {self.uri} does not exist")
            return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())
        prefix = f"{self.prefix}/" if self.prefix else ""
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
        return [key[len(prefix) :] for key in keys if not key.endswith("/")]

    def key(self, name: str) -> str:
        """Return the key of a file below."""
        return f"{self.prefix}/{name}" if self.prefix else name


def copy(s3: Any, source: S3Location, target: S3Location, name: str) -> None:
    """Copy one file."""
    if not target.s3:
        (target.folder / name).parent.mkdir(parents=True, exist_ok=True)
    if source.s3 and target.s3:
        s3.copy({"Bucket": source.bucket, "Key": source.key(name)}, target.bucket, target.key(name))
    elif source.s3:
        s3.download_file(source.bucket, source.key(name), str(target.folder / name))
    elif target.s3:
        s3.upload_file(str(source.folder / name), target.bucket, target.key(name))
    else:
        (target.folder / name).write_bytes((source.folder / name).read_bytes())


def main() -> int:
    """Run the command.

    Returns:
        0. Failures raise SystemExit or an error of boto3.
    """
    parser = argparse.ArgumentParser(prog="s3-dist-cp", allow_abbrev=False)
    parser.add_argument("--src", required=True)
    parser.add_argument("--dest", required=True)
    parser.add_argument("--srcPattern")
    parser.add_argument("--deleteOnSuccess", action="store_true")
    options = parser.parse_args()
    import boto3

    s3 = boto3.client("s3")
    source, target = S3Location(options.src), S3Location(options.dest)
    names = source.names(s3)
    if not names:
        raise SystemExit(f"s3-dist-cp: no files below {options.src}")
    chosen = [
        name for name in names if not options.srcPattern or re.fullmatch(options.srcPattern, f"{source.uri}/{name}")
    ]
    for name in chosen:
        copy(s3, source, target, name)
    if options.deleteOnSuccess:
        for name in chosen:
            if source.s3:
                s3.delete_object(Bucket=source.bucket, Key=source.key(name))
            else:
                (source.folder / name).unlink()
    sys.stdout.write(f"copied {len(chosen)} of {len(names)} files from {options.src} to {options.dest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
