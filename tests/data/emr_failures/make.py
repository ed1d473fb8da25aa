"""Create the failure logs: run each failing program, and remove this machine's names from its output.

    python tests/data/emr_failures/make.py [case …]

Requires Java (with javac), pyspark and moto. `expected.yaml` contains the cause of each failure.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
LOCAL = ["--master", "local[2]", "--conf", "spark.ui.enabled=false", "--conf", "spark.driver.host=127.0.0.1"]
#: Maximum length of a log. Of a longer one, the beginning and the end are kept.
LIMIT = 60_000

PYTHON = {
    "python_error_in_driver": [],
    "python_error_in_udf": [],
    "python_error_in_rdd": [],
    "module_missing": [],
    "column_missing": [],
    "input_missing": ["/mnt/input/2026-11-20"],
    "output_exists": ["{tmp}/out"],
    "syntax_error": [],
    "sql_syntax": [],
    "cast_invalid": [],
    "not_picklable": [],
    "driver_out_of_memory": [],
    "result_too_large": [],
    "worker_killed": [],
    "python_memory_error": [],
    "exits_three": [],
    "chained": [],
    "no_such_bucket": [],
    "access_denied": [],
    "table_missing": [],
    "malformed_record": ["{tmp}"],
    "partition_error": [],
    "connection_refused": [],
    "recursion": [],
    "assertion": [],
}
#: case: arguments after `spark-submit --master …`
OTHER = {
    "java_error_in_task": ["--class", "shop.Ratios", "{jar}"],
    "java_error_in_driver": ["--class", "shop.Orders", "{jar}"],
    "java_class_missing": ["--class", "shop.Needs", "{jar}"],
    "class_missing": ["--class", "shop.Invoices", "{jar}"],
    "jar_missing": ["--class", "shop.Orders", "/mnt/jars/orders-1.0.jar"],
    "file_missing": ["/mnt/code/report.py"],
    "package_missing": ["--packages", "org.example:nothing-of-that-name:9.9", "{programs}/column_missing.py"],
    "memory_setting": ["--driver-memory", "64m", "{programs}/exits_three.py"],
}
SHELL = ["command_missing", "python_script", "hive_missing"]
BOOTSTRAP = ["bootstrap_pip", "bootstrap_command", "bootstrap_s3", "bootstrap_permission"]
#: Cases whose logs are those of a driver in cluster mode; the step log only says that the application failed.
CLUSTER_MODE = {
    "partition_error",
    "assertion",
    "python_error_in_udf",
    "java_error_in_task",
    "chained",
    "driver_out_of_memory",
}
ARGUMENTS = {"driver_out_of_memory": ["--driver-memory", "512m"]}
CLIENT = """\
26/11/20 10:02:11 INFO Client: Application report for application_1795169731234_0001 (state: RUNNING)
26/11/20 10:02:31 INFO Client: Application report for application_1795169731234_0001 (state: FINISHED)
26/11/20 10:02:31 INFO Client:
\t client token: N/A
\t diagnostics: User application exited with status 1
\t ApplicationMaster host: ip-10-0-0-12.ec2.internal
\t final status: FAILED
\t user: hadoop
26/11/20 10:02:31 ERROR Client: Application diagnostics message: User application exited with status 1
Exception in thread "main" org.apache.spark.SparkException: Application application_1795169731234_0001 \
finished with failed status
\tat org.apache.spark.deploy.yarn.Client.run(Client.scala:1332)
\tat org.apache.spark.deploy.yarn.YarnClusterApplication.start(Client.scala:1764)
\tat org.apache.spark.deploy.SparkSubmit.org$apache$spark$deploy$SparkSubmit$$runMain(SparkSubmit.scala:1029)
\tat org.apache.spark.deploy.SparkSubmit$$anon$2.doSubmit(SparkSubmit.scala:1120)
\tat org.apache.spark.deploy.SparkSubmit$.main(SparkSubmit.scala:1129)
\tat org.apache.spark.deploy.SparkSubmit.main(SparkSubmit.scala)
26/11/20 10:02:31 INFO ShutdownHookManager: Shutdown hook called
Command exiting with ret '1'
"""


def scrub(text: str, folder: Path) -> str:
    """Remove this machine's folders, names and addresses from a log."""
    import pyspark

    spark = str(Path(pyspark.__file__).parent)
    packages = str(Path(spark).parent)
    java = str(Path(shutil.which("java")).resolve().parent.parent)
    for found, instead in (
        (str(PROGRAMS), "/mnt/code"),
        (str(folder), "/mnt/tmp"),
        (tempfile.gettempdir(), "/mnt/tmp"),
        (spark, "/usr/lib/spark"),
        (packages, "/usr/lib/python3.11/site-packages"),
        (sys.prefix, "/usr"),
        (sys.base_prefix, "/usr"),
        (java, "/usr/lib/jvm/java-17"),
        (str(Path.home()), "/home/hadoop"),
        (str(HERE.parents[2]), "/mnt/code"),
        (socket.getfqdn(), "ip-10-0-0-12.ec2.internal"),
        (socket.gethostname(), "ip-10-0-0-12"),
    ):
        if len(found) > 2:
            text = text.replace(found, instead)
    text = re.sub(r"\b(ip-10-0-0-12(?:\.ec2\.internal)?|localhost)/\d+\.\d+\.\d+\.\d+", r"\1/10.0.0.12", text)
    text = re.sub(r"(?<!\d)(?!127\.0\.0\.1|10\.0\.0\.12)(?:\d{1,3}\.){3}\d{1,3}(?=[:/ )])", "10.0.0.12", text)
    text = re.sub(r"https?://[\w.-]+(:\d+)?(?=[/\s:])", "https://repository.example.org", text)
    text = re.sub(
        r"using user ?name: \w+|UserName \[\w+\]|user(?:s with)? .*permissions: Set\(\w*\)", "user hadoop", text
    )
    text = re.sub(r"(?i)(acls(?: groups)? to: )\w+", r"\1hadoop", text)
    return text if len(text) <= LIMIT else f"{text[: LIMIT // 3]}\n…\n{text[-2 * LIMIT // 3 :]}"


def environment(aws) -> dict[str, str]:
    import pyspark

    home = str(Path(pyspark.__file__).parent)
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
        "SPARK_HOME": home,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **aws,
    }


def run(words: list[str], folder: Path, env: dict[str, str]) -> tuple[str, str]:
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False)
    print(f"  {done.returncode}", flush=True)  # noqa: T201
    assert done.returncode, "this program was to fail"
    return scrub(done.stdout, folder), scrub(done.stderr, folder)


def compile_jar(folder: Path) -> Path:
    import pyspark

    jars = f"{Path(pyspark.__file__).parent}/jars/*"
    classes = folder / "classes"
    subprocess.run(["javac", "-cp", jars, "-d", classes, *sorted(PROGRAMS.glob("*.java"))], check=True)
    subprocess.run(["jar", "cf", folder / "shop.jar", "-C", classes, "."], check=True)
    return folder / "shop.jar"


def keep(case: str, logs: dict[str, str]) -> None:
    folder = HERE / case
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in logs.items():
        if text.strip():
            (folder / f"{name}.txt").write_text(text)


def main(only: list[str]) -> None:
    from airflow_batchemr.local import LocalAWS

    with LocalAWS() as aws, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        s3 = aws.client("s3")
        s3.create_bucket(Bucket="payroll")
        s3.put_object(Bucket="payroll", Key="2026.csv", Body=b"ann,3\n")
        denied = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::payroll/2026.csv",
        }
        s3.put_bucket_policy(Bucket="payroll", Policy=json.dumps({"Version": "2012-10-17", "Statement": [denied]}))
        env = environment(aws.environment())
        jar = compile_jar(folder)
        submit = [str(Path(env["SPARK_HOME"]) / "bin" / "spark-submit"), *LOCAL]
        cases = {case: [*ARGUMENTS.get(case, []), str(PROGRAMS / f"{case}.py"), *args] for case, args in PYTHON.items()}
        for case, words in {**cases, **OTHER}.items():
            if only and case not in only:
                continue
            print(case, end="", flush=True)  # noqa: T201
            work = folder / case
            work.mkdir()
            filled = [word.format(jar=jar, programs=PROGRAMS, tmp=work) for word in words]
            out, err = run([*submit, *filled], work, env)
            if case in CLUSTER_MODE:
                keep(case, {"stderr": CLIENT, "driver_stdout": out, "driver_stderr": err})
            else:
                keep(case, {"stdout": out, "stderr": err})
        for case in [*SHELL, *BOOTSTRAP]:
            if only and case not in only:
                continue
            print(case, end="", flush=True)  # noqa: T201
            work = folder / case
            work.mkdir()
            out, err = run(["bash", str(PROGRAMS / f"{case}.sh")], work, env)
            prefix = "bootstrap_" if case in BOOTSTRAP else ""
            keep(case, {f"{prefix}stdout": out, f"{prefix}stderr": err})


if __name__ == "__main__":
    main(sys.argv[1:])
