"""Steps that record each run, and the clusters of a Dag, for the EMR tests."""

from __future__ import annotations

CLUSTER = {"type": "m5.xlarge", "instances": 3}
ALIVE = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]


class Steps:
    """A folder in which steps record that they ran."""

    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "steps.txt"

    def step(self, name, script="true", **options):
        """A step that records its name and then executes `script` (sh)."""
        return {
            "name": name,
            "command": ["sh", "-c", f"echo {name} >> {self.log}; cd {self.folder}; {script}"],
            **options,
        }

    def ran(self):
        """The names of the steps that ran, in order."""
        return self.log.read_text().split() if self.log.exists() else []


def named(aws, prefix):
    """All clusters whose names start with a prefix."""
    return [one for one in aws.client("emr").list_clusters()["Clusters"] if one["Name"].startswith(prefix)]


def alive(aws, prefix):
    """The active ones of these clusters."""
    return [one for one in named(aws, prefix) if one["Status"]["State"] in ALIVE]
