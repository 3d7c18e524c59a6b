"""Images of many pixels: the same input for the model, for less memory."""

from __future__ import annotations

import numpy as np
import pytest

from sam_backend.engines import protocol
from tests.costs import assert_cheap, cost_of


@pytest.mark.parametrize(("height", "width"), [(300, 400), (1501, 1100), (2000, 17)])
def test_one_channel_at_a_time_is_the_same(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    whole = protocol.to_model_frame(image)
    monkeypatch.setattr(protocol, "_LARGE_PIXELS", 0)
    assert np.array_equal(protocol.to_model_frame(image), whole)


def scaled(side: int) -> None:
    protocol.to_model_frame(np.full((side, side, 3), 7, np.uint8))


def test_a_large_image_is_scaled_for_little_memory() -> None:
    assert_cheap(cost_of(scaled, 6800))
