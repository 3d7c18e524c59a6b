"""The processor time of a click and of an encode, for `tools.load.simulate`.

    python -m tools.load.service_times

It counts the seconds that cores worked for the server, so other programs on this machine disturb it
little.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tools.bench.pictures import SIZE, Pictures, picture
from tools.bench.servers import Backend, ours

_CLICKS = 300
_PICTURES = 30


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        Pictures(Path(name) / "pictures") as pictures,
        ours(Path(name)) as backend,
    ):
        images = [picture(pictures, number) for number in range(_PICTURES + 1)]
        backend.click(images[0], [(50.0, 50.0)])  # opens the model
        click = _cost(backend, images[:1] * _CLICKS)
        first = _cost(backend, images[1:])
    print(f"{SIZE[0]} x {SIZE[1]} pixels: --click {click:.4f} --encode {first - click:.3f}")


def _cost(backend: Backend, images: list[str]) -> float:
    """Core seconds of a click on each image."""
    before = backend.busy()
    for number, image in enumerate(images):
        backend.click(image, [(30.0 + number % 40, 50.0)])
    return (backend.busy() - before) / len(images)


if __name__ == "__main__":
    main()
