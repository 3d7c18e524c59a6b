"""What the routes of programs share: the limits of clicks, images, objects and their ids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import request

from sam_backend.server.admission import EVERYTHING_AT_ONCE, Admission
from sam_backend.server.programs.kept_images import KeptImages
from sam_backend.server.programs.objects import Objects
from sam_backend.services import Services
from sam_backend.shared import click_budget, stale
from sam_backend.shared.ids_of_machines import MachinesIds
from sam_backend.shared.program_ids import ProgramIds


class SharedParts:
    """The parts of one server process that all routes of programs use."""

    def __init__(self, services: Services, clicks: Admission) -> None:
        own = ProgramIds(services.state.path.with_name("programs.sqlite3"))
        store = services.common_store
        self.ids = MachinesIds(own, store) if store else own
        self.images = KeptImages(services, self.ids)
        self.objects = Objects(self.ids)
        self.text = services.masks.text
        self.engine = services.engine
        self.searches = Admission("everything", EVERYTHING_AT_ONCE, services.refusals.report)
        self._clicks = clicks

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A request waits for its turn like a click, and gets as many decodes."""
        with (
            self._clicks.admitted(),
            stale.asked_on(request.environ.get("gunicorn.socket")),
            click_budget.shared(),
        ):
            yield
