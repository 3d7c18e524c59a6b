"""Everything between Label Studio's requests and a SAM engine, one job a module.

`from sam_backend import Segmenter` is the way in for programs. It is imported when it is used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam_backend.programs.segmenter import Segmenter as Segmenter

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "Segmenter":
        from sam_backend.programs.segmenter import Segmenter  # noqa: PLC0415 (NumPy and more)

        return Segmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
