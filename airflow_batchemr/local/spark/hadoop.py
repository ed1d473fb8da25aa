"""`hadoop jar` of the local EMR: runs a jar's main class with the jars of pyspark around it. Run as a script."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

MISSING = "hadoop: Hadoop's jars are not installed here. Install them with: pip install 'airflow-batchemr[spark]'"


def main() -> int:
    """`hadoop jar <jar> [main class] arguments…`; the class only where the manifest names none.

    Returns:
        Java's exit code.
    """
    home = os.environ.get("SPARK_HOME")
    if not home:
        sys.stderr.write(MISSING + "\n")
        return 1
    if len(sys.argv) < 3 or sys.argv[1] != "jar":
        sys.stderr.write("hadoop: only `hadoop jar <jar> [main class] arguments…` is possible here\n")
        return 1
    jar, arguments = sys.argv[2], sys.argv[3:]
    main_class = manifest_class(Path(jar))
    if main_class is None and not arguments:
        sys.stderr.write(f"hadoop: {jar} names no Main-Class, and none is given\n")
        return 1
    if main_class is None:
        main_class, *arguments = arguments
    java = Path(os.environ["JAVA_HOME"]) / "bin" / "java" if os.environ.get("JAVA_HOME") else "java"
    classpath = os.pathsep.join([jar, os.environ.get("HADOOP_CONF_DIR", ""), str(Path(home) / "jars" / "*")])
    return subprocess.call([str(java), "-cp", classpath, main_class, *arguments])


def manifest_class(jar: Path) -> str | None:
    """Main-Class of a jar's manifest."""
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
