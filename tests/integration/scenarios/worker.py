"""A worker process that kills itself with SIGKILL at a call: `worker.py BACKEND FOLDER STATE CLUSTER`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.integration.scenarios.backends import BACKENDS
from tests.integration.scenarios.clock import Clock
from tests.integration.scenarios.faults import Fault, Point, World
from tests.integration.scenarios.scenario import Run


def main(name, folder, state, cluster):
    """Run the pipeline until its work has started."""
    (kind,) = [one for one in BACKENDS if one.name == name]
    backend = kind(None, Path(folder), state)
    backend.cluster_id = cluster  # created by the test, if the backend needs one
    world = World(Clock())
    with pytest.MonkeyPatch.context() as patch:
        world.install(patch)
        world.faults = [Fault(Point(kind.start), "sigkill_after")]
        Run(world, backend, watch=False).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
