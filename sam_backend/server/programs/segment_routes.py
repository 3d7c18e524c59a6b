"""Routes that embed an image, segment its objects, and forget it."""

from __future__ import annotations

from flask import Response, request

from sam_backend import metrics
from sam_backend.errors import Refusal
from sam_backend.server.json_http import content
from sam_backend.server.programs import answer_limits, fields
from sam_backend.server.programs.fields import ImageFields, ObjectFields
from sam_backend.server.programs.handling import Fields, ProgramRoutes, Routes, answered, body_with
from sam_backend.server.programs.kept_images import KeptImage
from sam_backend.server.programs.written_masks import MaskWriter, writer


class SegmentRoutes(ProgramRoutes):
    """Embeds images once and segments them many times."""

    def routes(self) -> Routes:
        return {
            "/v1/embed": (["POST"], self.embed),
            "/v1/segment": (["POST"], self.segment),
            "/v1/images/<image_id>": (["DELETE"], self.forget),
        }

    @answered
    def embed(self) -> Fields:
        if request.mimetype != "application/json":
            return self.parts.images.find(ImageFields(content=content())).facts()
        body = body_with("image")
        return self.parts.images.find(fields.image(body, by_id=False)).facts()

    @answered
    def segment(self) -> Fields:
        body = body_with(*fields.IMAGE, *fields.FORM, *fields.OBJECT, "objects", "alternatives")
        write, count = writer(body), fields.alternatives(body)
        asked = fields.objects(body)
        kept = self.parts.images.find(fields.image(body))
        most = room = answer_limits.masks(kept.image)
        found: list[Fields] = []
        for each in asked:
            if not room:
                found.append({"error": str(answer_limits.no_room(most))})
                continue
            found.append(self._object(kept, each, write, min(count, room - 1)))
            room -= 1 + len(found[-1].get("alternatives", ()))
        if all("error" in each for each in found):
            raise Refusal("prompt", found[0]["error"])
        return {**kept.facts(), "objects": found}

    def forget(self, image_id: str) -> Response:
        self.parts.images.forget(image_id)
        return Response(status=204)

    def _object(
        self, kept: KeptImage, asked: ObjectFields, write: MaskWriter, count: int
    ) -> Fields:
        """One object's mask, or the line that says why there is none. `count`: alternatives."""
        try:
            masks = self.parts.objects.with_alternatives(kept, asked, count)
            with metrics.STAGE.labels("rle").time():
                first, *others = ({"answer_id": id_, **write(mask)} for id_, mask in masks)
        except Refusal as refusal:
            return {"error": str(refusal)}
        return {**first, "alternatives": others} if count else first
