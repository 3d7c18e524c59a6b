"""The two ways in which the back end says no."""

from sam_backend.lines import shown


class SettingsError(Exception):
    """A setting that the back end cannot start with. The message names the key and the value."""


class Refusal(Exception):
    """A request that cannot be answered with a mask.

    `cause` is one word for statistics (config, prompt, image, model), the message one line for
    a person: what happened, and what to do about it. It may quote what a request brought.
    """

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(shown(message))
        self.cause = cause
