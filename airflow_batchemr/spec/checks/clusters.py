"""A cluster of its own: what EMR would refuse, or what will be missed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_batchemr.spec.errors import guess
from airflow_batchemr.spec.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.spec.models import Emr
    from airflow_batchemr.spec.validation import Keys

#: What EMR releases can install (EMR Release Guide).
APPLICATIONS = (
    *("AmazonCloudWatchAgent", "Delta", "Flink", "Ganglia", "HBase", "HCatalog", "Hadoop", "Hive", "Hudi", "Hue"),
    *("Iceberg", "JupyterEnterpriseGateway", "JupyterHub", "Livy", "MXNet", "Mahout", "Oozie", "Phoenix", "Pig"),
    *("Presto", "PrestoSQL", "Ranger", "Spark", "Sqoop", "TensorFlow", "Tez", "Trino", "Zeppelin", "ZooKeeper"),
)
#: Families that AWS has retired: no new account gets them.
_RETIRED = re.compile(r"(m1|m2|c1|cc1|cc2|cg1|t1|cr1|hi1|hs1)\.")


def cluster(emr: Emr, at: Keys, *, runs_steps: bool = True, uses_spark: bool = False) -> Iterator[Problem]:
    """All that is wrong with a cluster.

    Args:
        emr: the block of a cluster that is made.
        at: its keys.
        runs_steps: whether this package adds the steps.
        uses_spark: whether a Spark step is to run on it.
    """
    yield from _types(emr, at)
    for place, name in enumerate(emr.applications or []):
        if name not in APPLICATIONS and name.lower() not in {known.lower() for known in APPLICATIONS}:
            hint = guess(name, APPLICATIONS)
            message = f"EMR knows no application `{name}`"
            yield Problem((*at, "applications", place), message, hint, "error" if hint else "warning")
    if uses_spark and emr.applications is not None and "spark" not in {name.lower() for name in emr.applications}:
        yield Problem((*at, "applications"), "the job runs Spark, and the cluster's applications lack it", "add Spark")
    if emr.log_uri is None and not emr.overrides.get("LogUri"):
        what = "a failed step's report needs the logs" if runs_steps else "what a failed cluster or step says is lost"
        keys = (*at, "log_uri")
        yield Problem(keys, f"no `log_uri`: {what}", "write `log_uri: s3://…`", "warning", key=True, nothing_of=(keys,))
    if emr.termination_protection and emr.keep_alive is None:
        message = "the cluster is ended with its job; the protection will only be lifted first"
        yield Problem((*at, "termination_protection"), message, None, "warning")


def _types(emr: Emr, at: Keys) -> Iterator[Problem]:
    found = [((*at, "type", place), name) for place, name in enumerate(emr.type or [])]
    for word in ("master", "core", "task"):
        group = getattr(emr, word)
        if group is not None:
            found += [((*at, word, "type", place), name) for place, name in enumerate(group.type)]
        fleet = getattr(emr.fleets, word) if emr.fleets is not None else None
        if fleet is not None:
            found += [((*at, "fleets", word, "types", place), each.type) for place, each in enumerate(fleet.types)]
    for keys, name in found:
        if _RETIRED.match(name):
            yield Problem(keys, f"{name} is a retired instance type", "take a current one such as m5.xlarge", "warning")
