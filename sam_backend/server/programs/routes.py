"""All routes for programs: those under /v1, and Roboflow's under /sam2."""

from __future__ import annotations

from sam_backend.server.admission import Admission
from sam_backend.server.programs.handling import Routes
from sam_backend.server.programs.roboflow import Roboflow
from sam_backend.server.programs.search_routes import SearchRoutes
from sam_backend.server.programs.segment_routes import SegmentRoutes
from sam_backend.server.programs.shared_parts import SharedParts
from sam_backend.services import Services


class Programs:
    """The engine for programs."""

    def __init__(self, services: Services, clicks: Admission) -> None:
        parts = SharedParts(services, clicks)
        self._served = (SegmentRoutes(parts), SearchRoutes(parts), Roboflow(parts))

    def routes(self) -> Routes:
        return {rule: route for each in self._served for rule, route in each.routes().items()}
