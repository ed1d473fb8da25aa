"""A cluster of its own: what EMR would refuse, or what will be missed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_batchemr.core import emr_releases as releases
from airflow_batchemr.pipeline_file.errors import guess
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.models import Emr
    from airflow_batchemr.pipeline_file.needs import Needs
    from airflow_batchemr.pipeline_file.validation import Keys

#: What EMR releases can install (EMR Release Guide).
APPLICATIONS = (
    *("AmazonCloudWatchAgent", "Delta", "Flink", "Ganglia", "HBase", "HCatalog", "Hadoop", "Hive", "Hudi", "Hue"),
    *("Iceberg", "JupyterEnterpriseGateway", "JupyterHub", "Livy", "MXNet", "Mahout", "Oozie", "Phoenix", "Pig"),
    *("Presto", "PrestoSQL", "Ranger", "Spark", "Sqoop", "TensorFlow", "Tez", "Trino", "Zeppelin", "ZooKeeper"),
)
#: Families that AWS has retired: no new account gets them.
_RETIRED = re.compile(r"(m1|m2|c1|cc1|cc2|cg1|t1|cr1|hi1|hs1)\.")


def cluster(emr: Emr, at: Keys, needs: Needs, *, stays: bool = False, runs_steps: bool = True) -> Iterator[Problem]:
    """All that is wrong with a cluster.

    Args:
        emr: the block of a cluster that is made.
        at: its keys.
        needs: what the steps need that are to run on it.
        stays: whether it waits for its work, and does not end with its steps.
        runs_steps: whether this package adds the steps.
    """
    yield from _types(emr, at)
    for place, name in enumerate(emr.applications or []):
        if name not in APPLICATIONS and name.lower() not in {known.lower() for known in APPLICATIONS}:
            hint = guess(name, APPLICATIONS)
            message = f"EMR knows no application `{name}`"
            yield Problem((*at, "applications", place), message, hint, "error" if hint else "warning")
    for name in ("Hive", "Spark"):  # Hadoop is added where it is needed
        named = {one.lower() for one in emr.applications or [name]}
        if name in needs.applications and name.lower() not in named:
            message = f"the job runs {name}, and the cluster's applications lack it"
            yield Problem((*at, "applications"), message, f"add {name}")
    yield from _release(emr, at, needs, stays=stays)
    if emr.log_uri is None and not emr.overrides.get("LogUri"):
        what = "a failed step's report needs the logs" if runs_steps else "what a failed cluster or step says is lost"
        keys = (*at, "log_uri")
        yield Problem(keys, f"no `log_uri`: {what}", "write `log_uri: s3://…`", "warning", key=True, nothing_of=(keys,))
    if emr.termination_protection and emr.keep_alive is None:
        message = "the cluster is ended with its job; the protection will only be lifted first"
        yield Problem((*at, "termination_protection"), message, None, "warning")


def _release(emr: Emr, at: Keys, needs: Needs, *, stays: bool) -> Iterator[Problem]:
    """What clusters of an old release cannot do."""
    if emr.release is None:
        return
    word = "keep_alive" if emr.keep_alive else "idle_timeout" if emr.idle_timeout else None
    if not releases.supports_idle_timeout(emr.release):
        since = "those of emr-5.30, emr-6.1 and later can"
        if word is not None:
            message = f"clusters of {emr.release} cannot end themselves when they are idle"
            yield Problem((*at, word), message, since)
        elif stays:
            message = f"clusters of {emr.release} cannot end themselves: if nobody is left to end this one, it stays"
            yield Problem((*at, "release"), message, since, "warning")
    if needs.docker_image and not releases.supports_docker(emr.release):
        message = f"clusters of {emr.release} run no containers, and `docker_image` needs them"
        yield Problem((*at, "release"), message, "those of emr-6.0 and later do")


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
