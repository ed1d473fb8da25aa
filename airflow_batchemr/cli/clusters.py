"""`batchemr clusters`: list or terminate the EMR clusters started by this package."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from airflow_batchemr.cli import common, ending

if TYPE_CHECKING:
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.cli.inventory import Started

app = common.new_app()


@app.command()
def clusters(  # noqa: PLR0917 (all are options)
    all_: Annotated[bool, typer.Option("--all", help="Include terminated clusters that EMR still lists.")] = False,
    end: Annotated[
        list[str] | None,
        typer.Option(help="Show this cluster, ask, and terminate it. Can be repeated.", metavar="j-..."),
    ] = None,
    yes: ending.YesOption = False,
    profile: common.ProfileOption = None,
    region: common.RegionOption = None,
    json_: common.JsonOption = False,
) -> None:
    """List the EMR clusters started by this package with age, instance-hours and owner, or terminate them.

    batchemr clusters

    batchemr clusters --end j-2AXXXXXXGAPLF
    """
    from airflow_batchemr.aws.emr.clusters import ALIVE
    from airflow_batchemr.cli.inventory import emr_clusters, instance_hours
    from airflow_batchemr.cli.open_submissions import with_exact_names

    if end:
        ending.check_can_ask("--end", yes=yes)
    with common.errors():
        aws = common.clients(profile, region)
        if end:
            _end(aws, end, yes=yes)
            return
        found = [with_exact_names(aws, one) for one in emr_clusters(aws, () if all_ else tuple(sorted(ALIVE)))]
        hours = {one.id: instance_hours(aws, one) for one in found}
    if json_:
        for one in found:
            record = {
                "id": one.id, "name": one.name, "state": one.state, "created": one.created.isoformat(),
                "age_seconds": round(one.age), "instance_hours": hours[one.id], "owner": _owner(one),
                "tags": dict(one.tags), "not_ours": one.foreign(),
            }  # fmt: skip
            sys.stdout.write(json.dumps(record) + "\n")
        return
    rows = [
        [one.id, one.state, common.duration(one.age), _hours(hours[one.id]), _owner(one), _work(one)] for one in found
    ]
    common.table(["id", "state", "age", "instance-hours", "owner", "pipeline run job"], rows)
    common.say(f"{len(found)} cluster{'s' * (len(found) != 1)}")


def _work(one: Started) -> str:
    problem = one.foreign()
    return one.work if problem is None else f"{one.work} (not ours: {problem})"


def _owner(one: Started) -> str:
    """Return the owner of the Airflow task, or the value of a tag `owner` on clusters without our tag."""
    given = {name.lower(): value for name, value in one.tags.items()}
    return one.tag("owner") or given.get("owner", "")


def _hours(hours: float | None) -> str:
    return "?" if hours is None else f"{hours:.1f}"


def _end(aws: Clients, ids: list[str], *, yes: bool) -> None:
    """Terminate clusters started by this package, and record stop requests for the tasks that wait for them."""
    from airflow_batchemr.aws.emr.clusters import terminate
    from airflow_batchemr.cli.inventory import emr_clusters
    from airflow_batchemr.cli.open_submissions import not_requested, request_stop, with_exact_names

    known = {one.id: with_exact_names(aws, one) for one in emr_clusters(aws) if one.id in ids}
    if unknown := [id_ for id_ in ids if id_ not in known]:
        raise LookupError(f"{', '.join(unknown)}: not a running cluster started by this package")
    for id_ in ids:
        if problem := not_requested(aws, known[id_]):
            raise LookupError(f"{id_}: not a cluster started by this package, although it has its tags: {problem}")
    ending.confirm([(known[id_], _work(known[id_])) for id_ in ids], yes=yes)
    for id_ in ids:
        request_stop(aws, known[id_], "terminated by hand", by="batchemr clusters")
    terminate(aws, ids)
    for id_ in ids:
        common.say(f"terminating {id_}")
