"""A tag shows the part of a task's data that the editor shows."""

from __future__ import annotations

from typing import Any

import pytest

from sam_backend.clicks.shown_data import (
    MOST_CHARACTERS,
    MOST_VARIABLES,
    data_part,
    data_that_shows,
)

DATA: dict[str, Any] = {
    "image": "/data/upload/1/cat.jpg",
    "größe in cm": "/data/upload/1/dog.jpg",
    "photo": {"url": "/data/upload/1/bird.jpg", "sizes": ["small.jpg", "large.jpg"]},
    "photo.day": "sunday.jpg",
    "base": "https://example.com/pictures",
    "name": "fox",
    "number": 7,
    "$cash": "cash.jpg",
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("$image", "/data/upload/1/cat.jpg"),
        ("$größe in cm", "/data/upload/1/dog.jpg"),
        ("$photo.url", "/data/upload/1/bird.jpg"),
        ("$photo.sizes[1]", "large.jpg"),
        ("$photo.sizes", ["small.jpg", "large.jpg"]),
        ("$photo.day", "sunday.jpg"),  # a name with a dot comes first
        ("$base/$name/$number", "https://example.com/pictures/fox/7"),
        ("https://example.com/$photo.sizes[0]", "https://example.com/small.jpg"),
        ("image", "/data/upload/1/cat.jpg"),  # the editor shows nothing, but it is clear
    ],
)
def test_values_of_tags(value: str, expected: object) -> None:
    assert data_part(value, DATA) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "$",
        "$other",
        "$photo.other",
        "$photo.sizes[2]",
        "$photo.sizes[-1]",
        "$photo.sizes[²]",
        f"$photo.sizes[{'9' * 5000}]",
        "$image.url",
        "$base/$other",
        "$base/$photo",
        "https://example.com/cat.jpg",
        "$" + "." * 100_000,
        "$photo" + "[0]" * 100_000,
    ],
)
def test_values_that_show_nothing(value: str) -> None:
    assert data_part(value, DATA) is None


def test_an_address_that_is_put_together_has_a_limit() -> None:
    """A short label config would make a huge address of a long text."""
    assert data_part("$a$a", {"a": "x" * 10}) == "x" * 20
    assert data_part("$a$a", {"a": "x" * MOST_CHARACTERS}) is None
    assert data_part("$a" * (MOST_VARIABLES + 1), {"a": "x"}) is None
    alone = "data:image/png;base64," + "x" * MOST_CHARACTERS
    assert data_part("$a", {"a": alone}) == alone


def test_a_new_task_shows_what_it_should() -> None:
    for value in ("$image", "$photo.url", "$a.b.c"):
        assert data_part(value, data_that_shows(value, "cat.jpg")) == "cat.jpg"
    for value in ("$photos[0]", "$base/$name", "https://example.com/$name"):
        with pytest.raises(ValueError, match="no single part"):
            data_that_shows(value, "cat.jpg")
