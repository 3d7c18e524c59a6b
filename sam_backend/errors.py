"""The errors that people read: a bad setting, and a request without a mask."""

from sam_backend.lines import one_line


class SettingsError(Exception):
    """A setting that the back end cannot start with. The message names the key and the value."""


class Refusal(Exception):
    """A request that cannot be answered with a mask.

    `cause` is one word for statistics: config, prompt, image or model. The message is one line for
    a person: what happened, and what to do. It may quote parts of the request.
    """

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(one_line(message))
        self.cause = cause


class Busy(Refusal):
    """A request that would be answered too late. The same request works in some seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__("busy", message)
        self.retry_after_s = retry_after_s


def not_permitted(error: PermissionError) -> str:
    """The line about a file or folder that this user may not read or write."""
    if error.filename is None:
        return str(error)
    return (
        f"{error.filename} cannot be read or written by this user: give the user the right, or "
        "choose another folder"
    )
