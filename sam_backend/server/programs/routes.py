"""The routes of programs under /v1: one method a route."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from itertools import islice
from time import perf_counter
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from flask import Response, request
from werkzeug.exceptions import RequestTimeout

from sam_backend import metrics
from sam_backend.clicks import everything, similar, words
from sam_backend.clicks.everything import LEVELS
from sam_backend.errors import Busy, Refusal
from sam_backend.exports import coco_rle
from sam_backend.formats import mask_writer
from sam_backend.formats.mask import Mask
from sam_backend.programs import prompts
from sam_backend.programs.answers import Answered, Answers, continued
from sam_backend.programs.image import EmbeddedImage, low_res
from sam_backend.programs.mask import MOST_ALTERNATIVES, ObjectMask
from sam_backend.server.admission import EVERYTHING_AT_ONCE, Admission
from sam_backend.server.json_http import Handler, answer, content, json_object
from sam_backend.server.programs import fields, mask_room, problems
from sam_backend.server.programs.fields import Format, ImageFields, ObjectFields
from sam_backend.server.programs.kept_images import KeptImage, KeptImages
from sam_backend.services import Services
from sam_backend.shared import click_budget, stale
from sam_backend.shared.click_budget import OutOfBudget
from sam_backend.shared.ids_of_machines import MachinesIds
from sam_backend.shared.program_ids import KEPT_S, ProgramIds
from sam_backend.shared.stale import Stale


class Admits(Protocol):
    """Routes whose requests wait for their turn."""

    def admitted(self) -> AbstractContextManager[None]: ...


P = ParamSpec("P")
S = TypeVar("S", bound=Admits)
Fields = dict[str, Any]

_IMAGE = ("image", "image_id")
_FORM = ("format", "tolerance")
_OBJECT = ("points", "labels", "box", "mask_input")


def answered(
    method: Callable[Concatenate[S, P], Fields],
) -> Callable[Concatenate[S, P], Response]:
    """A method as a handler: with the limits of a click, refusals as problems, and its time."""

    @wraps(method)
    def handle(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            with self.admitted():
                started = perf_counter()
                found = method(self, *args, **kwargs)
        except Busy:  # it has an HTTP status of its own
            raise
        except Refusal as refusal:
            raise problems.of_refusal(refusal) from None
        except Stale:
            metrics.STALE.inc()
            raise RequestTimeout("nobody waits for the answer") from None
        return answer({**found, "milliseconds": round(1000 * (perf_counter() - started), 1)})

    return handle


class Programs:
    """Embeds images once and segments them many times, for programs."""

    def __init__(self, services: Services, clicks: Admission) -> None:
        self._services = services
        self._clicks = clicks
        self._everything = Admission("everything", EVERYTHING_AT_ONCE, services.refusals.report)
        own = ProgramIds(services.state.path.with_name("programs.sqlite3"))
        store = services.common_store
        self.ids = MachinesIds(own, store) if store else own
        self.images = KeptImages(services, self.ids)
        self.answers = Answers()

    def routes(self) -> dict[str, tuple[list[str], Handler]]:
        return {
            "/v1/embed": (["POST"], self.embed),
            "/v1/segment": (["POST"], self.segment),
            "/v1/everything": (["POST"], self.everything),
            "/v1/find-similar": (["POST"], self.find_similar),
            "/v1/segment-text": (["POST"], self.segment_text),
            "/v1/images/<image_id>": (["DELETE"], self.forget),
        }

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A request waits for its turn like a click, and gets as many decodes."""
        with (
            self._clicks.admitted(),
            stale.asked_on(request.environ.get("gunicorn.socket")),
            click_budget.shared(),
        ):
            yield

    @answered
    def embed(self) -> Fields:
        if request.mimetype != "application/json":
            return _facts(self.images.find(ImageFields(content=content())))
        body = json_object()
        fields.known(body, "image")
        return _facts(self.images.find(fields.image(body, by_id=False)))

    @answered
    def segment(self) -> Fields:
        body = json_object()
        fields.known(body, *_IMAGE, *_FORM, *_OBJECT, "objects", "alternatives")
        write = writer(body)
        count = fields.integer(body, "alternatives", 0, 0, MOST_ALTERNATIVES)
        asked = fields.objects(body)
        kept = self.images.find(fields.image(body))
        most = room = mask_room.masks(kept.image)
        found: list[Fields] = []
        for each in asked:
            if not room:
                found.append({"error": str(mask_room.no_room(most))})
                continue
            found.append(self._object(kept, each, write, min(count, room - 1)))
            room -= 1 + len(found[-1].get("alternatives", ()))
        if all("error" in each for each in found):
            raise Refusal("prompt", found[0]["error"])
        return {**_facts(kept), "objects": found}

    def everything(self) -> Response:
        with self._everything.admitted():  # before it takes the place of a click
            return self._find_everything()

    @answered
    def _find_everything(self) -> Fields:
        body = json_object()
        fields.known(body, *_IMAGE, *_FORM, "most", "min_score", "grid", "level")
        write = writer(body)
        most = fields.integer(body, "most", everything.MOST, 1, fields.MOST_PROPOSALS)
        min_score = fields.number(body, "min_score", everything.MIN_IOU, 0, 1)
        grid = fields.integer(body, "grid", everything.GRID, 1, everything.GRID)
        level: Any = fields.choice(body, "level", "all", LEVELS)
        kept = self.images.find(fields.image(body))
        most = min(most, mask_room.proposals(kept.image))
        with click_budget.unlimited():
            found = kept.image.everything(most=most, min_score=min_score, grid=grid, level=level)
            return {**_facts(kept), "objects": [write(mask) for mask in found]}

    @answered
    def find_similar(self) -> Fields:
        body = json_object()
        fields.known(
            body, *_IMAGE, *_FORM, *_OBJECT, "objects", "mask", "negatives", "taken", "most"
        )
        write = writer(body)
        most = fields.integer(body, "most", similar.MOST_DECODES, 1, similar.MOST_DECODES)
        asked = fields.examples(body)
        kept = self.images.find(fields.image(body))
        sides = [
            [self._example(kept, each) for each in some]
            for some in (asked.examples, asked.negatives, asked.taken)
        ]
        examples, negatives, taken = (low_res([mask for mask, _ in some]) for some in sides)
        # By their number, not by what they cost: a known mask must not change the answer.
        asked_for = sum(decodes for some in sides for _, decodes in some)
        room = mask_room.masks(kept.image)
        with click_budget.search():
            decodes = click_budget.DECODES_A_SEARCH - min(asked_for, click_budget.DECODES_A_REQUEST)
            found = kept.image.like(examples, negatives, taken, min(most, room), decodes)
            return {**_facts(kept), "objects": [write(mask) for mask in found]}

    @answered
    def segment_text(self) -> Fields:
        body = json_object()
        fields.known(body, "image", *_FORM, "phrases")
        write, phrases = writer(body), fields.phrases(body)
        asked = fields.image(body, by_id=False)
        kept = self.images.find(asked)
        services, embedding = self._services, kept.image.embedding
        engine = services.engine.ready()
        find = services.masks.text.in_image(embedding.digest, lambda: self.images.pixels(asked))
        most = mask_room.masks(kept.image)
        found: list[Fields] = []
        with click_budget.search():
            for phrase in phrases:
                room = most - sum(len(each["objects"]) for each in found)
                named = find(phrase)
                masks = words.masks(named, engine, embedding)
                written = (write(ObjectMask(m.mask, m.score, embedding)) for _, m in masks)
                found.append({"phrase": phrase, **_fitting(written, len(named), room, most)})
        return {**_facts(kept), "phrases": found}

    def forget(self, image_id: str) -> Response:
        self.images.forget(image_id)
        return Response(status=204)

    def mask(self, kept: KeptImage, asked: ObjectFields) -> tuple[Answered, ObjectMask]:
        """The mask of an object, and what it follows from."""
        which = self._answered(kept, asked)
        with metrics.STAGE.labels("decode").time():
            return which, self.answers.mask(kept.image, which)

    def _answered(self, kept: KeptImage, asked: ObjectFields) -> Answered:
        """What the mask of an object follows from."""
        image = kept.image
        prompt = prompts.object_prompt(
            image.width, image.height, asked.points, asked.labels, asked.box
        )
        if asked.mask_input is None:
            return Answered(prompt)
        return continued(self._earlier(kept, asked.mask_input), prompt)

    def _example(self, kept: KeptImage, asked: ObjectFields) -> tuple[Mask, int]:
        """The low-res mask (256, 256) of an object that a prompt or a mask shows.

        The number is how many decodes it takes if nothing is known of it yet.
        """
        frame = kept.image.embedding.frame
        if asked.mask is None:
            with metrics.STAGE.labels("decode").time():
                state = self.answers.state(kept.image, self._answered(kept, asked))
            return frame.low_res_mask(state.logits), state.prompt.decodes
        if asked.mask.get("size") != [frame.height, frame.width]:
            raise Refusal(
                "prompt",
                f"the size of a mask is not that of the image, [{frame.height}, {frame.width}]",
            )
        try:
            return frame.padded(coco_rle.sample(asked.mask, *frame.middles())), 0
        except ValueError as error:
            raise Refusal("prompt", f"a mask cannot be read: {error}") from None

    def _earlier(self, kept: KeptImage, answer_id: str) -> Answered:
        """What an earlier answer about the same picture follows from."""
        known = self.ids.answer(answer_id)
        content = known and self.ids.content(known.image_id)
        if known is None or content is None or content != self.ids.content(kept.id):
            raise problems.unknown_answer()
        try:
            return Answered.from_json(known.value, kept.image)
        except (ValueError, TypeError, Refusal):  # another program wrote into the common store
            raise problems.unknown_answer() from None

    def _object(
        self,
        kept: KeptImage,
        asked: ObjectFields,
        write: Callable[[ObjectMask], Fields],
        count: int,
    ) -> Fields:
        """One object's mask, or the line that says why there is none. `count`: alternatives."""
        try:
            which, mask = self.mask(kept, asked)
            others = mask.alternatives[:count] if count else ()
            values = [which, *(Answered(which.prompt, n) for n in range(len(others)))]
            ids = self.ids.add_answers(kept.id, [value.to_json() for value in values])
            with metrics.STAGE.labels("rle").time():
                written = [
                    {"answer_id": id_, **write(each)}
                    for id_, each in zip(ids, (mask, *others), strict=True)
                ]
        except Refusal as refusal:
            return {"error": str(refusal)}
        return {**written[0], "alternatives": written[1:]} if count else written[0]


def writer(body: Mapping[str, Any]) -> Callable[[ObjectMask], Fields]:
    """What writes masks in the format that a request asks for."""
    form = fields.form(body)
    tolerance = fields.number(body, "tolerance", 1.0, 0, 100)
    return lambda mask: _written(mask, form, tolerance)


def _written(mask: ObjectMask, form: Format, tolerance: float) -> Fields:
    forms: dict[Format, Callable[[], Any]] = {
        "polygon": lambda: polygons(mask, tolerance),
        "rle": lambda: mask.rle("label_studio"),
        "coco_rle": lambda: mask.rle("coco"),
        "png": lambda: mask_writer.data_url(mask.png),
        "bitmask": lambda: mask_writer.data_url(mask.bitmask_png),
    }
    box = None if mask.box is None else list(mask.box)
    score = round(mask.score, 4)
    return {"score": score, "box": box, "area": mask.area, "format": form, "mask": forms[form]()}


def _fitting(masks: Iterator[Fields], count: int, room: int, most: int) -> Fields:
    """The masks of a phrase, and a line that says why there are no more of them.

    `count` is how many objects the phrase names. No mask is made without room for it.
    """
    found: list[Fields] = []
    try:
        found.extend(islice(masks, room))  # what came before an error stays
    except OutOfBudget:
        return {"objects": found, "error": str(mask_room.no_decodes())}
    if len(found) == room < count:
        return {"objects": found, "error": str(mask_room.no_room(most))}
    return {"objects": found}


def polygons(mask: ObjectMask, tolerance: float) -> list[list[list[float]]]:
    return [line.round(2).tolist() for line in mask.polygons(tolerance)]


def _facts(kept: KeptImage) -> Fields:
    image: EmbeddedImage = kept.image
    size = {"width": image.width, "height": image.height}
    return {"image_id": kept.id, **size, "kept_seconds": KEPT_S}
