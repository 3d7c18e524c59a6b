"""A run over many tasks. All commands that predict share it."""

from __future__ import annotations

import argparse

from sam_backend.bulk import overlay, pools, prediction_loop, run_options
from sam_backend.bulk.job import Job
from sam_backend.bulk.work import Work
from sam_backend.engines import choice
from sam_backend.settings import Settings

DONE, FAILED = 0, 1  # exit statuses; the caller has one for a run that cannot start


def run(options: argparse.Namespace, work: Work) -> int:
    """Does the run and prints its summary. Returns the exit status. Refusal if it cannot start."""
    settings = Settings.from_environment()
    pools.check(options, settings)
    model_version = choice.plan(settings).model_version
    tasks = run_options.tasks(options, settings)
    if options.dry_run:
        tally = prediction_loop.dry_run(tasks, work, model_version)
        print(tally.report("would get masks"))
        return FAILED if tally.failed else DONE
    if options.preview is not None:
        overlay.make_folder(options.preview)
    job = Job(settings, tasks.project, tasks.config_xml, work, options.preview)
    pool = pools.pool(options, job, model_version)
    output = run_options.output(options, settings, tasks, work, model_version)
    tally = prediction_loop.run(tasks, output, pool, model_version)
    if options.preview is not None:
        overlay.contact_sheet(options.preview)
    print(tally.report("with masks"))
    return FAILED if tally.failed else DONE
