"""The `spark` block of jobs and steps."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import (
    Form,
    Mebibytes,
    Model,
    TextMap,
    Texts,
    Word,
    text,
)

OnFailure = Literal["terminate_cluster", "cancel_and_wait", "continue"]


_Package = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^([^:\s]+:){2}[^:\s]+$|\{\{"})]


def _package(value: object) -> list[str]:
    names = [text(item) for item in value] if isinstance(value, list) else [text(value)]
    for position, name in enumerate(names):
        if not re.fullmatch(r"[^:\s]+:[^:\s]+:[^:\s]+", name) and "{{" not in name:
            at = [position] if isinstance(value, list) else []
            raise Refusal(f"expected Maven coordinates such as group:artifact:version, not {name}", None, at)
    return names


class Logs(Model):
    """A log stream in CloudWatch Logs."""

    group: Word = Field(description="Log group in CloudWatch Logs")
    stream: Word = Field(description="Log stream in CloudWatch Logs")


class Spark(Model):
    """A spark-submit with either `jar` (and `class`) or `py`."""

    class_: Word | None = Field(
        None, alias="class", description="Main class. Default: the one in the manifest of the jar"
    )
    jar: Word | None = Field(None, description="URI of the application's jar. Either `jar` or `py` is required")
    py: Word | None = Field(None, description="URI of the application's Python file. Either `jar` or `py` is required")
    args: Texts = Field(default_factory=list, description="Arguments of the application")
    conf: TextMap = Field(default_factory=dict, description="Spark properties (`--conf`)")
    packages: Annotated[list[_Package], BeforeValidator(_package), Form(single=True)] = Field(
        default_factory=list, description="Maven coordinates, group:artifact:version (`--packages`)"
    )
    jars: Texts = Field(default_factory=list, description="URIs of additional jars (`--jars`)")
    py_files: Texts = Field(default_factory=list, description="URIs of Python modules (`--py-files`)")
    files: Texts = Field(default_factory=list, description="URIs of files for the working directory (`--files`)")
    archives: Texts = Field(
        default_factory=list,
        description=(
            "URIs of archives to unpack into the working directory; `#name` sets the directory (`--archives`)"
        ),
    )
    driver_memory: Mebibytes | None = Field(
        None, description="Memory of the driver, in MiB or with a unit such as `8GiB`. Default: Spark's"
    )
    driver_cores: Annotated[int, Field(ge=1)] | None = Field(None, description="Cores of the driver. Default: Spark's")
    executor_memory: Mebibytes | None = Field(
        None, description="Memory of each executor, in MiB or with a unit such as `8GiB`. Default: Spark's"
    )
    executor_cores: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Cores of each executor. Default: Spark's"
    )
    num_executors: Annotated[int, Field(ge=1)] | None = Field(None, description="Number of executors. Default: Spark's")
    deploy_mode: Literal["cluster", "client"] = Field(
        "cluster", description="Run the driver on the cluster (`cluster`) or on its master (`client`)"
    )
    python_env: Word | None = Field(
        None,
        description=(
            "Python environment of the driver and executors: `requirements.txt`, `environment.yml`, or a "
            "packed environment (`s3://….tar.gz`); a path is relative to the pipeline file, in Python to the Dag's "
            "file. Default: that of the cluster"
        ),
    )
    docker_image: Word | None = Field(None, description="Image of the YARN containers; since emr-6.0")
    requires: TextMap = Field(
        default_factory=dict,
        description=(
            "Versions (or version prefixes) that the release must have, by application, such as `{spark: '3.5'}`"
        ),
    )
    logs: Logs | None = Field(
        None,
        description=("Log stream that the program itself writes to; it is shown in the task log while the job runs"),
    )
    on_failure: OnFailure | None = Field(
        None, description="What EMR does if the step fails (EMR `ActionOnFailure`). Default: that of the job"
    )

    @model_validator(mode="after")
    def _one_application(self) -> Spark:
        if self.py is not None and (self.jar is not None or self.class_ is not None):
            raise Refusal(
                f"`py` and `{'jar' if self.jar is not None else 'class'}` cannot be combined",
                at=["jar" if self.jar is not None else "class"],
            )
        if self.py is None and self.jar is None:
            raise Refusal("`py: s3://…` or `jar: s3://…` is required")
        if self.python_env is not None and self.py is None:
            raise Refusal("`python_env` requires `py`", at=["python_env"])
        if self.deploy_mode == "client" and re.search(r"\.(tar\.gz|tgz|zip)$", self.python_env or ""):
            raise Refusal(
                f"a packed `python_env` ({self.python_env}) is not supported with `deploy_mode: client`",
                "remove `deploy_mode: client`: YARN only unpacks archives for the driver in cluster mode",
                at=["deploy_mode"],
            )
        return self
