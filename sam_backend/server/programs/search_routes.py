"""Routes that find many objects: everything, objects like an example, objects with a name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from flask import Response

from sam_backend.clicks import words
from sam_backend.programs.mask import ObjectMask
from sam_backend.server.programs import answer_limits, fields
from sam_backend.server.programs.examples import low_res_examples
from sam_backend.server.programs.handling import Fields, ProgramRoutes, Routes, answered, body_with
from sam_backend.server.programs.written_masks import writer
from sam_backend.shared import click_budget
from sam_backend.shared.click_budget import OutOfBudget


class SearchRoutes(ProgramRoutes):
    """Finds many objects with one request."""

    def routes(self) -> Routes:
        return {
            "/v1/everything": (["POST"], self.everything),
            "/v1/find-similar": (["POST"], self.find_similar),
            "/v1/segment-text": (["POST"], self.segment_text),
        }

    def everything(self) -> Response:
        with self.parts.searches.admitted():  # before it takes the place of a click
            return self._everything()

    @answered
    def _everything(self) -> Fields:
        body = body_with(*fields.IMAGE, *fields.FORM, *fields.EVERYTHING)
        write, asked = writer(body), fields.everything(body)
        kept = self.parts.images.find(fields.image(body))
        most = min(asked.most, answer_limits.proposals(kept.image))
        with click_budget.unlimited():
            found = kept.image.everything(
                most=most, min_score=asked.min_score, grid=asked.grid, level=asked.level
            )
            return {**kept.facts(), "objects": [write(mask) for mask in found]}

    @answered
    def find_similar(self) -> Fields:
        body = body_with(
            *fields.IMAGE,
            *fields.FORM,
            *fields.OBJECT,
            *("objects", "mask", "negatives", "taken", "most"),
        )
        write, most = writer(body), fields.similar(body)
        asked = fields.examples(body)
        kept = self.parts.images.find(fields.image(body))
        given = low_res_examples(kept, asked, self.parts.objects)
        room = answer_limits.masks(kept.image)
        with click_budget.search():
            # By their number, not by what they cost: a known mask must not change the answer.
            spent = min(given.decodes, click_budget.DECODES_A_REQUEST)
            decodes = click_budget.DECODES_A_SEARCH - spent
            found = kept.image.like(
                given.examples, given.negatives, given.taken, min(most, room), decodes
            )
            return {**kept.facts(), "objects": [write(mask) for mask in found]}

    @answered
    def segment_text(self) -> Fields:
        body = body_with("image", *fields.FORM, "phrases")
        write, phrases = writer(body), fields.phrases(body)
        asked = fields.image(body, by_id=False)
        kept = self.parts.images.find(asked)
        engine, embedding = self.parts.engine.ready(), kept.image.embedding
        find = self.parts.text.in_image(embedding.digest, lambda: self.parts.images.pixels(asked))
        most = answer_limits.masks(kept.image)
        found: list[Fields] = []
        with click_budget.search():
            for phrase in phrases:
                room = most - sum(len(each["objects"]) for each in found)
                named = find(phrase)
                masks = words.masks(named, engine, embedding)
                written = (write(ObjectMask(m.mask, m.score, embedding)) for _, m in masks)
                found.append({"phrase": phrase, **_fitting(written, len(named), room, most)})
        return {**kept.facts(), "phrases": found}


def _fitting(masks: Iterator[Fields], count: int, room: int, most: int) -> Fields:
    """The masks of a phrase, and a line that says why there are no more of them.

    `count` is how many objects the phrase names. No mask is made without room for it.
    """
    found: list[Fields] = []
    try:
        found.extend(islice(masks, room))  # what came before an error stays
    except OutOfBudget:
        return {"objects": found, "error": str(answer_limits.no_decodes())}
    if len(found) == room < count:
        return {"objects": found, "error": str(answer_limits.no_room(most))}
    return {"objects": found}
