"""`s3-dist-cp` of the local EMR: copies files between S3 prefixes and the cluster's HDFS. Runs as a script.

HDFS is a local folder of the cluster.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_batchemr.local.hadoop_files import Files, HadoopError
else:
    from hadoop_files import Files, HadoopError  # a script's own folder is on its path


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
    files = Files()
    source, target = options.src.rstrip("/") + "/", options.dest.rstrip("/")
    try:
        uris = [uri for uri in files.names(source) if not uri.endswith("/")]
        if not uris:
            raise SystemExit(f"s3-dist-cp: no files below {options.src}")
        chosen = [uri for uri in uris if not options.srcPattern or re.fullmatch(options.srcPattern, uri)]
        for uri in chosen:
            files.write(f"{target}/{uri[len(source) :]}", files.read(uri))
    except HadoopError as error:
        raise SystemExit(f"s3-dist-cp: {error}") from error
    if options.deleteOnSuccess:
        for uri in chosen:
            files.delete(uri)
    sys.stdout.write(f"copied {len(chosen)} of {len(uris)} files from {options.src} to {options.dest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
