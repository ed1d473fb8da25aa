"""`hadoop jar` of the local EMR: runs the main class of a jar with the jars of pyspark. Runs as a script."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

MISSING = "hadoop: the Hadoop jars are not installed. Install them with: pip install 'airflow-batchemr[spark]'"


def main() -> int:
    """Run `hadoop jar <jar> [main class] arguments…`. The class is required only if the manifest does not name one.

    Returns:
        The exit code of Java.
    """
    if len(sys.argv) > 2 and Path(sys.argv[2]).name.startswith("hadoop-streaming"):
        return subprocess.call(["hadoop-streaming", *sys.argv[3:]])
    home = os.environ.get("SPARK_HOME")
    if not home:
        sys.stderr.write(MISSING + "\n")
        return 1
    if len(sys.argv) < 3 or sys.argv[1] != "jar":
        sys.stderr.write("hadoop: only `hadoop jar <jar> [main class] arguments…` is supported here\n")
        return 1
    jar, arguments = sys.argv[2], sys.argv[3:]
    main_class = manifest_class(Path(jar))
    if main_class is None and not arguments:
        sys.stderr.write(f"hadoop: {jar} has no Main-Class; add the class to the arguments\n")
        return 1
    if main_class is None:
        main_class, *arguments = arguments
    java = Path(os.environ["JAVA_HOME"]) / "bin" / "java" if os.environ.get("JAVA_HOME") else "java"
    classpath = os.pathsep.join([jar, os.environ.get("HADOOP_CONF_DIR", ""), str(Path(home) / "jars" / "*")])
    return subprocess.call([str(java), "-cp", classpath, main_class, *arguments])


def manifest_class(jar: Path) -> str | None:
    """Return the Main-Class of a jar's manifest, or None."""
    with zipfile.ZipFile(jar) as archive:
        if "META-INF/MANIFEST.MF" not in archive.namelist():
            return None
        for line in archive.read("META-INF/MANIFEST.MF").decode().splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() == "main-class":
                return value.strip()
    return None


if __name__ == "__main__":
    sys.exit(main())
