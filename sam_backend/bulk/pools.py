"""The workers of a run: processes of this machine, or actors of a Ray cluster."""

from __future__ import annotations

import argparse
import importlib.util
import os

from sam_backend.bulk.job import Job, Pool
from sam_backend.bulk.workers import Workers
from sam_backend.engines import choice
from sam_backend.errors import SettingsError
from sam_backend.installation import pip_install
from sam_backend.settings import Settings


def devices(options: argparse.Namespace, settings: Settings) -> list[str]:
    """The devices of the workers, or the one from the settings."""
    return options.devices or [settings.device]


def check(options: argparse.Namespace, settings: Settings) -> None:
    """SettingsError if the workers could not start."""
    if options.ray is not None:
        _check_ray(options)
    for device in devices(options, settings):
        checked = choice.plan(Settings.from_environment({**os.environ, "DEVICE": device}))
        if options.ray is None:  # the machines of a cluster check what they have
            choice.check(checked)


def _check_ray(options: argparse.Namespace) -> None:
    if importlib.util.find_spec("ray") is None:
        raise SettingsError(f"--ray needs Ray: {pip_install('ray')}")
    if options.preview is not None:
        raise SettingsError("--preview needs workers on this machine: leave out --ray")


def pool(options: argparse.Namespace, job: Job, model_version: str) -> Pool:
    """The workers for a job. They start with its first task."""
    named = devices(options, job.settings)
    if options.ray is None:
        return Workers(job, options.workers or 1, named)
    from sam_backend.bulk.ray_workers import RayWorkers  # noqa: PLC0415 (Ray is optional)

    return RayWorkers(job, model_version, options.workers, named, options.ray)
