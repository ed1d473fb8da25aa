"""The `spark:` block, and the steps of an EMR cluster."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import (
    SCALAR,
    TEXT,
    Form,
    Mebibytes,
    Model,
    Raw,
    TextMap,
    Texts,
    Word,
    text,
)
from airflow_batchemr.pipeline_file.models.command import Command

OnFailure = Literal["terminate_cluster", "cancel_and_wait", "continue"]


_Package = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^([^:\s]+:){2}[^:\s]+$|\{\{"})]


def _package(value: object) -> list[str]:
    names = [text(item) for item in value] if isinstance(value, list) else [text(value)]
    for position, name in enumerate(names):
        if not re.fullmatch(r"[^:\s]+:[^:\s]+:[^:\s]+", name) and "{{" not in name:
            at = [position] if isinstance(value, list) else []
            raise Refusal(f"expected a Maven package like group:artifact:version, not {name}", None, at)
    return names


class Logs(Model):
    """A place in CloudWatch Logs.

    Attributes:
        group: log group.
        stream: log stream.
    """

    group: Word
    stream: Word


class Spark(Model):
    """One spark-submit; `class` and `jar`, or `py`.

    Attributes:
        class_: main class (`class`).
        jar: URI of the application's jar.
        py: URI of the application's Python file.
        args: its arguments.
        conf: Spark's properties.
        packages: Maven packages, group:artifact:version.
        jars: URIs of further jars.
        py_files: URIs of Python modules.
        files: URIs of files for the working folder.
        archives: URIs of archives that are unpacked there; `#name` names the folder.
        driver_memory: MiB.
        driver_cores: cores.
        executor_memory: MiB.
        executor_cores: cores.
        num_executors: executors.
        deploy_mode: cluster or client.
        python_env: requirements.txt, environment.yml or a packed s3://….tar.gz, for driver and executors.
        docker_image: image of the containers on YARN.
        requires: versions that the release must have, such as `{spark: "3.5"}`.
        logs: where in CloudWatch Logs the program itself writes; its lines are shown while it runs.
        on_failure: what EMR does when the step fails.
    """

    class_: Word | None = Field(None, alias="class")
    jar: Word | None = None
    py: Word | None = None
    args: Texts = Field(default_factory=list)
    conf: TextMap = Field(default_factory=dict)
    packages: Annotated[list[_Package], BeforeValidator(_package), Form(single=True)] = Field(default_factory=list)
    jars: Texts = Field(default_factory=list)
    py_files: Texts = Field(default_factory=list)
    files: Texts = Field(default_factory=list)
    archives: Texts = Field(default_factory=list)
    driver_memory: Mebibytes | None = None
    driver_cores: Annotated[int, Field(ge=1)] | None = None
    executor_memory: Mebibytes | None = None
    executor_cores: Annotated[int, Field(ge=1)] | None = None
    num_executors: Annotated[int, Field(ge=1)] | None = None
    deploy_mode: Literal["cluster", "client"] = "cluster"
    python_env: Word | None = None
    docker_image: Word | None = None
    requires: TextMap = Field(default_factory=dict)
    logs: Logs | None = None
    on_failure: OnFailure | None = None

    @model_validator(mode="after")
    def _one_application(self) -> Spark:
        if self.py is not None and (self.jar is not None or self.class_ is not None):
            raise Refusal(
                "`py` and `jar` are two applications: write one of them",
                at=["jar" if self.jar is not None else "class"],
            )
        if self.py is None and self.jar is None:
            raise Refusal("nothing to run: write `py: s3://…`, or `jar: s3://…` and `class:`")
        if self.python_env is not None and self.py is None:
            raise Refusal("`python_env` goes with `py`", at=["python_env"])
        if self.deploy_mode == "client" and re.search(r"\.(tar\.gz|tgz|zip)$", self.python_env or ""):
            raise Refusal(
                f"YARN unpacks {self.python_env} for the driver in cluster mode only: leave out `deploy_mode: client`",
                at=["deploy_mode"],
            )
        return self


class Copy(Model):
    """An s3-dist-cp step.

    Attributes:
        source: where from, `s3://…` or `hdfs:///…`.
        destination: where to.
        args: further arguments of s3-dist-cp.
    """

    source: Word
    destination: Word
    args: Texts = Field(default_factory=list)


class Hive(Model):
    """A Hive script as a step.

    Attributes:
        script: its S3 URI.
        args: its arguments, such as `-d INPUT=s3://…`.
    """

    script: Word
    args: Texts = Field(default_factory=list)


def _hive(value: object) -> object:
    return {"script": value} if isinstance(value, str) else value


_KINDS = ("command", "jar", "spark", "hive", "copy_", "raw")


class Step(Model):
    """A step of a cluster; exactly one of command, jar, spark, hive, copy and raw.

    Attributes:
        name: as EMR shows it; None is made from what it runs.
        command: a command on the master (by command-runner.jar): a list of arguments, or text that is split as a
            shell would, without a shell.
        jar: URI of a jar, with `class_`, `args` and `properties`.
        class_: its main class (`class`).
        args: its arguments.
        properties: Java properties.
        spark: a spark-submit.
        hive: a Hive script.
        copy_: an s3-dist-cp (`copy`).
        raw: EMR's own StepConfig.
        on_failure: what EMR does when the step fails; None is the job's.
    """

    name: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    command: Command | None = None
    jar: Word | None = None
    class_: Word | None = Field(None, alias="class")
    args: Texts = Field(default_factory=list)
    properties: TextMap = Field(default_factory=dict)
    spark: Spark | None = None
    hive: Annotated[Hive, BeforeValidator(_hive), Form((TEXT,))] | None = None
    copy_: Copy | None = Field(None, alias="copy")
    raw: Raw | None = None
    on_failure: OnFailure | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Step:
        kinds = [kind.rstrip("_") for kind in _KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            names = ", ".join(kind.rstrip("_") for kind in _KINDS)
            raise Refusal(f"a step is exactly one of {names}, not {' and '.join(kinds) or 'none'}")
        for word, given in (("class", self.class_), ("args", self.args), ("properties", self.properties)):
            if given and self.jar is None:
                raise Refusal(f"`{word}` goes with `jar`", at=[word])
        return self


#: The short forms of steps: a command is one, alone or in the list.
STEPS = Form((TEXT,), single=True, items=(TEXT, {"type": "array", "items": SCALAR, "minItems": 1}))


def as_steps(value: object) -> object:
    """A list of steps; a text or a list of words is a command."""
    items = value if isinstance(value, list) else [value]
    if not items:
        raise Refusal("the list of steps is empty")
    return [{"command": item} if isinstance(item, str | list) else item for item in items]


def as_copies(value: object) -> object:
    """A list of copies; a single one is a list of one."""
    return value if isinstance(value, list) else [value]
