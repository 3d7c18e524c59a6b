"""Label Studio's model class: turns smart prompts into regions with masks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sam_backend.clicks import label_config
from sam_backend.errors import Refusal
from sam_backend.server import click_prediction, events
from sam_backend.services import Services
from sam_backend.shared import click_budget

try:
    from label_studio_ml.model import LabelStudioMLBase
except ImportError:
    from sam_backend.server.without_sdk import LabelStudioMLBase

logger = logging.getLogger("sam_backend")

# The time of the SDK's parser grows with the square of the config's size.
MAX_LENGTH_FOR_SDK = 100_000

Task = Mapping[str, Any]


class SamMLBackend(LabelStudioMLBase):  # type: ignore[misc]
    """The back end of one project. It holds the label config, and nothing of any request.

    label-studio-ml 1.0.9 constructs it with (label_config, train_output, …), and the 2.x line with
    (project_id, label_config).
    """

    def __init__(
        self,
        project_id: str | None = None,
        label_config: str | None = None,
        services: Services | None = None,
        **_of_other_versions: object,
    ) -> None:
        self._services = services or services_from_environment()
        # The SDK expands entities, so it only gets a config that our parser accepted.
        accepted = label_config if _is_readable(label_config) else None
        try:
            super().__init__(project_id=project_id, label_config=accepted)
        except Exception as error:  # noqa: BLE001 (its result is not used)
            logger.info("the SDK cannot read the label config: %s", error)
            super().__init__(project_id=project_id)
        self._project = project_id or ""
        self._label_config = label_config or "<View/>"

    @property
    def size(self) -> int:
        """The approximate size in characters, for a bounded cache."""
        return 10_000 + len(self._project) + len(self._label_config)

    def setup(self) -> None:
        """Called by the 2.x line, which stores the model version itself."""
        self.set("model_version", self._services.model_version)

    def predict(
        self, tasks: Sequence[Task], context: Mapping[str, Any] | None = None, **_: object
    ) -> list[Any]:
        """A prediction for a click. Without a context, an empty list for each task.

        Label Studio stores nothing for an empty list, but an empty prediction would hide the task
        from later runs. The answer to a click must be a prediction, or the editor shows nothing.
        """
        asked = context if isinstance(context, Mapping) else {}
        is_click = isinstance(asked.get("result"), list) or events.has_lost_its_context(tasks)
        if not is_click and "event" not in asked:
            return [[] for _ in tasks]
        if asked.get("event") == events.CAPABILITIES:
            tasks = tasks or [{}]  # the model is asked, not a task
        with click_budget.shared():
            return [
                click_prediction.prediction(
                    self._services, self._project, self._label_config, task, asked
                )
                for task in tasks
            ]

    def fit(
        self, *positional: Any, event: object = None, data: object = None, **_: object
    ) -> dict[str, Any]:
        """Learns from a webhook: (event, data) in the 2.x line, keywords in version 1.0.9."""
        if len(positional) > 1:
            event, data = positional[:2]
        if isinstance(data, Mapping):
            self._services.handle_event({**data, "action": event})
        return {}


def _is_readable(xml: str | None) -> bool:
    if len(xml or "") > MAX_LENGTH_FOR_SDK:
        return False
    try:
        label_config.parse(xml or "")
    except Refusal:
        return False
    return True


@cache
def services_from_environment() -> Services:
    """The services for other servers, which construct the model without arguments of ours."""
    from sam_backend.server.startup import checked_settings, open_services  # noqa: PLC0415 (no cycle)

    return open_services(checked_settings())
