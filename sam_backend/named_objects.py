"""The results of all objects in a picture that phrases name, for clicks and for data sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sam_backend import metrics
from sam_backend.clicks import words
from sam_backend.clicks.controls import OutputChoice
from sam_backend.clicks.output import Result
from sam_backend.clicks.phrases import Phrase
from sam_backend.clicks.prompts import Target
from sam_backend.images.tasks import Picture, ProjectTask
from sam_backend.mask_maker import MaskMaker


def results(
    maker: MaskMaker,
    task: ProjectTask,
    picture: Picture,
    phrases: Sequence[Phrase],
    choice: OutputChoice,
) -> Iterator[list[Result]]:
    """The results of one object after the other, without objects that have a mask of their label.

    Refusal if there is no text model, or if a phrase asks for a label that the config lacks.
    """
    embedding = maker.pictures.embedding(picture)
    find = maker.text.in_image(embedding.digest, lambda: maker.pictures.pixels(picture))
    name, page = picture.image.name, picture.item_index
    target = Target(name, page, (), embedding.width, embedding.height, rotation=0)
    outputs = [(phrase, phrase.output(task.config, target, choice)) for phrase in phrases]
    for phrase, output in outputs:
        there = maker.objects.existing(task.task, output.target)
        with metrics.STAGE.labels("decode").time():
            named = find(phrase.text)
            for number, found in words.masks(named, maker.engine.ready(), embedding, there):
                yield output.results(phrase.id_of(number), found, maker.polygon_tolerance)
