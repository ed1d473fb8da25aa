"""Checks of an EMR cluster definition."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_batchemr.core import emr_releases as releases
from airflow_batchemr.core.tags import MAX_TAGS, OWNER_TAG, RUN_TAGS
from airflow_batchemr.pipeline_file.errors import guess
from airflow_batchemr.pipeline_file.models.base import is_template
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.models import Emr
    from airflow_batchemr.pipeline_file.needs import Needs
    from airflow_batchemr.pipeline_file.validation import Keys

#: Applications of EMR releases (EMR Release Guide).
APPLICATIONS = (
    *("AmazonCloudWatchAgent", "Delta", "Flink", "Ganglia", "HBase", "HCatalog", "Hadoop", "Hive", "Hudi", "Hue"),
    *("Iceberg", "JupyterEnterpriseGateway", "JupyterHub", "Livy", "MXNet", "Mahout", "Oozie", "Phoenix", "Pig"),
    *("Presto", "PrestoSQL", "Ranger", "Spark", "Sqoop", "TensorFlow", "Tez", "Trino", "Zeppelin", "ZooKeeper"),
)
#: Previous-generation families that AWS has retired; new accounts cannot launch them.
_RETIRED = re.compile(r"(m1|m2|c1|cc1|cc2|cg1|t1|cr1|hi1|hs1)\.")


def cluster(
    emr: Emr, at: Keys, needs: Needs, *, waits_for_jobs: bool = False, runs_steps: bool = True
) -> Iterator[Problem]:
    """Check a cluster definition.

    Args:
        emr: the definition of a new cluster.
        at: its path.
        needs: the requirements of the steps that run on it.
        waits_for_jobs: whether the cluster stays up until it is terminated, instead of ending with its steps.
        runs_steps: whether the steps are added by this package.
    """
    yield from _types(emr, at)
    if (number := len({*RUN_TAGS, OWNER_TAG, *emr.tags})) > MAX_TAGS:
        message = f"EMR accepts {MAX_TAGS} tags, not {number}, including those that identify the run and the owner"
        yield Problem((*at, "tags"), message)
    for position, name in enumerate(emr.applications or []):
        if name not in APPLICATIONS and name.lower() not in {known.lower() for known in APPLICATIONS}:
            hint = guess(name, APPLICATIONS)
            message = f"EMR has no application `{name}`"
            yield Problem((*at, "applications", position), message, hint, "error" if hint else "warning")
    for name in needs.applications:
        installed = {application.lower() for application in emr.applications or [name]} | {"hadoop"}  # always added
        if name.lower() not in installed:
            message = f"the job runs {name}, but the cluster does not install it"
            yield Problem((*at, "applications"), message, f"add {name}")
    yield from _release(emr, at, needs, waits_for_jobs=waits_for_jobs)
    if emr.log_uri is None and not emr.overrides.get("LogUri"):
        what = "failed steps cannot be explained" if runs_steps else "logs of failed steps are lost"
        keys = (*at, "log_uri")
        yield Problem(keys, f"no `log_uri`: {what}", "set `log_uri: s3://…`", "warning", key=True, missing=(keys,))
    if emr.termination_protection and emr.keep_alive is None:
        message = "termination protection has no effect: it is removed when the job terminates its cluster"
        yield Problem((*at, "termination_protection"), message, None, "warning")


def _release(emr: Emr, at: Keys, needs: Needs, *, waits_for_jobs: bool) -> Iterator[Problem]:
    """Features that old releases do not support."""
    if emr.release is None or is_template(emr.release):
        return
    if releases.is_before(emr.release, 4, 0):
        yield Problem((*at, "release"), f"EMR has no release {emr.release}: the first one is emr-4.0.0")
    key = "keep_alive" if emr.keep_alive else "idle_timeout" if emr.idle_timeout else None
    if not releases.supports_idle_timeout(emr.release):
        since = "use emr-5.30 or later, or emr-6.1 or later"
        if key is not None:
            message = f"{emr.release} does not support auto-termination of idle clusters"
            yield Problem((*at, key), message, since)
        elif waits_for_jobs:
            message = (
                f"{emr.release} does not support auto-termination: if Airflow cannot terminate the cluster, it keeps "
                "running"
            )
            yield Problem((*at, "release"), message, since, "warning")
    if emr.managed_scaling is not None and not releases.supports_idle_timeout(emr.release):
        message = f"{emr.release} does not support managed scaling"
        yield Problem((*at, "managed_scaling"), message, "use emr-5.30 or later, or emr-6.1 or later", key=True)
    for option, used, what, (major, minor) in (
        ("step_concurrency", emr.step_concurrency > 1, "steps that run at the same time", (5, 28)),
        ("master", emr.several_masters and emr.master, "3 masters", (5, 23)),
        ("fleets", emr.several_masters and emr.fleets, "3 masters", (5, 23)),
        ("fleets", emr.fleets, "instance fleets", (4, 8)),
        ("custom_ami", emr.custom_ami, "custom AMIs", (5, 7)),
    ):
        if used and releases.is_before(emr.release, major, minor):
            message = f"{emr.release} does not support {what}"
            yield Problem((*at, option), message, f"use emr-{major}.{minor} or later", key=True)
    if needs.docker_image and not releases.supports_docker(emr.release):
        message = f"{emr.release} does not support Docker containers, which `docker_image` requires"
        yield Problem((*at, "release"), message, "use emr-6.0 or later")


def _types(emr: Emr, at: Keys) -> Iterator[Problem]:
    found = [((*at, "type", position), name) for position, name in enumerate(emr.type or [])]
    for role in ("master", "core", "task"):
        group = getattr(emr, role)
        if group is not None:
            found += [((*at, role, "type", position), name) for position, name in enumerate(group.type)]
        fleet = getattr(emr.fleets, role) if emr.fleets is not None else None
        if fleet is not None:
            types = enumerate(fleet.types)
            found += [((*at, "fleets", role, "types", position), each.type) for position, each in types]
    for keys, name in found:
        if _RETIRED.match(name):
            yield Problem(keys, f"{name} is a retired instance type", "use a current type such as m5.xlarge", "warning")
