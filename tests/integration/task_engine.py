"""Tries of an operator without Airflow's runner, deferral by deferral, against the local AWS."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timezone
from types import SimpleNamespace

from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.module_loading import import_string


class Task:
    """One task of a run. `make` creates its operator for each try and resume, as Airflow does."""

    def __init__(self, make, *, run_id="manual", conf=None):
        self.make, self.run_id, self.conf = make, run_id, conf or {}
        self.started = None
        """Start of the try; None: now."""
        self.run_began = None
        """Start of the run; None: not known."""

    def context(self, operator, try_number, clears):
        ti = SimpleNamespace(
            dag_id="dag",
            task_id=operator.task_id,
            map_index=-1,
            try_number=try_number,
            max_tries=clears,
            start_date=self.started or datetime.now(timezone.utc),
            xcom_push=lambda **_: None,
        )
        run = SimpleNamespace(
            logical_date=datetime(2026, 11, 20, tzinfo=timezone.utc),
            run_id=self.run_id,
            conf=self.conf,
            start_date=self.run_began,
            partition_key=None,
        )
        return {"ti": ti, "dag_run": run, "params": {}}

    def begin(self, event=None, *, try_number=1, clears=0):
        """Execute, or resume with an event. Returns the trigger of a deferral, or the task's return value."""
        operator = self.make()
        context = self.context(operator, try_number, clears)
        try:
            return operator.execute(context) if event is None else operator.resume(context, event)
        except TaskDeferred as deferred:
            path, arguments = deferred.trigger.serialize()
            return import_string(path)(**json.loads(json.dumps(arguments)))

    def try_(self, trigger=None, **who):
        """Run a try, or continue it from a trigger, to its end."""
        step = self.begin(**who) if trigger is None else trigger
        while hasattr(step, "run"):
            step = self.begin(asyncio.run(first_event(step)), **who)
        return step


async def first_event(trigger):
    async for event in trigger.run():
        return event.payload
