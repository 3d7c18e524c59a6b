"""The service in OpenAPI's words, served at /openapi.json: data, and the pieces it is made of."""

from __future__ import annotations

from typing import Any

from sam_backend import __version__

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_NUMBER: Schema = {"type": "number"}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """An object with at least these properties: Label Studio adds to its requests over time."""
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_SCHEMAS: dict[str, Schema] = {
    "Error": _object(("error",), error=_TEXT),
    "Done": _object(("status",), status={"const": "ok"}),
    "Health": _object(("status", "model_class"), status={"const": "UP"}, model_class=_TEXT),
    "Region": {
        "description": "A region as Label Studio's results have it: a prompt, or a mask.",
        **_object(
            id=_TEXT,
            type={**_TEXT, "examples": ["keypointlabels", "rectangle", "labels", "brushlabels"]},
            from_name=_TEXT,
            to_name=_TEXT,
            original_width={"type": "integer", "minimum": 1},
            original_height={"type": "integer", "minimum": 1},
            image_rotation=_NUMBER,
            item_index={"type": "integer", "minimum": 0},
            is_positive={"type": "boolean", "description": "of a smart keypoint; false with Alt"},
            score=_NUMBER,
            value={
                "type": "object",
                "description": "x, y, width, height in percent of the image, rotation in degrees, "
                "labels; or an rle, an imageDataURL, or the points of a polygon",
            },
        ),
    },
    "Saved": {
        "description": "A draft or an annotation.",
        **_object(result=_list(_ref("Region"))),
    },
    "Task": _object(
        ("data",),
        id={"type": "integer"},
        data={"type": "object", "description": "where the images are, by the config's `$` keys"},
        drafts=_list(_ref("Saved")),
        annotations=_list(_ref("Saved")),
    ),
    "Predict": _object(
        ("tasks",),
        tasks=_list(_ref("Task"), maxItems=100_000),
        project={**_TEXT, "description": "id and time of creation: 6.1795225349"},
        label_config={**_TEXT, "description": "the project's label config, XML"},
        params={
            "type": ["object", "null"],
            "properties": {
                "context": {
                    "description": "what the annotator just placed; null when a task is opened "
                    "and in a batch",
                    "anyOf": [
                        {"type": "null"},
                        _object(("result",), result=_list(_ref("Region"))),
                    ],
                }
            },
        },
    ),
    "Prediction": _object(
        ("result", "score", "model_version"),
        result=_list(_ref("Region")),
        score=_NUMBER,
        model_version=_TEXT,
    ),
    "Predictions": _object(
        ("results",),
        results={
            "description": "one for each task: a prediction for a click (with an empty result if "
            "there is no mask: the status page says why), else an empty list",
            **_list({"anyOf": [_ref("Prediction"), {"type": "array", "maxItems": 0}]}),
        },
    ),
    "Setup": _object(
        project=_TEXT,
        schema={**_TEXT, "description": "the project's label config, XML"},
        hostname={**_TEXT, "description": "where Label Studio is"},
        access_token={**_TEXT_OR_NULL, "description": "the project owner's legacy token"},
        extra_params={
            "type": ["object", "string", "null"],
            "description": "of the model's form: sam_output and candidates, as JSON or its text",
        },
    ),
    "ModelVersion": _object(("model_version",), model_version=_TEXT),
    "Versions": _object(("versions",), versions=_list(_TEXT)),
    "Webhook": _object(
        action={**_TEXT, "examples": ["ANNOTATION_CREATED"]},
        task={"type": "object", "properties": {"id": {"type": "integer"}}},
    ),
    "Validate": _object(config={**_TEXT, "description": "a label config, XML"}),
    "Problems": _object(
        ("status", "problems"), status={"enum": ["ok", "failed"]}, problems=_list(_TEXT)
    ),
    "JobStatus": _object(
        ("job_status", "error"), job_status={"const": "finished"}, error={"type": "null"}
    ),
    "Status": _object(
        ("status", "version", "model", "model_version", "engine", "cache", "last_errors"),
        status={"const": "UP"},
        version=_TEXT,
        model=_TEXT,
        model_version=_TEXT,
        engine={**_TEXT, "description": "loading, ready, or failed and why"},
        label_studio=_TEXT,
        cache=_object(
            ("images", "mb", "limit_mb"),
            images={"type": "integer"},
            mb=_NUMBER,
            limit_mb={"type": "integer"},
        ),
        last_errors=_list(
            _object(
                ("time", "where", "cause", "message"),
                time={**_NUMBER, "description": "seconds since 1970"},
                where=_TEXT,
                cause=_TEXT,
                message=_TEXT,
            )
        ),
    ),
}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _answers(content: Schema, **others: str) -> Schema:
    errors = {
        code.removeprefix("_"): {"description": text, "content": _json(_ref("Error"))}
        for code, text in others.items()
    }
    return {"200": {"description": "the answer", "content": content}, **errors}


def _get(summary: str, content: Schema) -> Schema:
    return {"summary": summary, "responses": _answers(content)}


_FOREIGN = {
    "_403": "sent by a page of another site",
    "_415": "its Content-Type is not application/json",
}
_BAD = {
    "_400": "not JSON, or not what it should be",
    "_408": "the rest of the request did not come",
    "_413": "over a limit",
    **_FOREIGN,
}
_BUSY = {"_503": "too many requests wait: come again in `Retry-After` seconds"}


def _post(summary: str, asked: str, answered: str, **more_errors: str) -> Schema:
    answers = _answers(_json(_ref(answered)), **_BAD, **more_errors)
    if "_503" in more_errors:
        header = {"schema": {"type": "integer"}, "description": "seconds"}
        answers["503"]["headers"] = {"Retry-After": header}
    body = {"required": True, "content": _json(_ref(asked))}
    return {"summary": summary, "requestBody": body, "responses": answers}


def _call(summary: str, answered: str) -> Schema:
    """A POST whose body does not matter."""
    return {"summary": summary, "responses": _answers(_json(_ref(answered)), **_FOREIGN)}


_PATHS: dict[str, dict[str, Schema]] = {
    "/": {
        "get": _get(
            "What the back end is doing, and its last errors: JSON, or a page for people",
            {**_json(_ref("Status")), "text/html": {"schema": _TEXT}},
        )
    },
    "/health": {"get": _get("Whether the server is up", _json(_ref("Health")))},
    "/metrics": {
        "get": _get("Counters for Prometheus", {"text/plain": {"schema": _TEXT}}),
    },
    "/openapi.json": {"get": _get("This description", _json({"type": "object"}))},
    "/setup": {"post": _post("Label Studio introduces a project", "Setup", "ModelVersion")},
    "/predict": {
        "post": _post(
            "Masks for a click; empty lists for a task opened and for a batch",
            "Predict",
            "Predictions",
            **_BUSY,
        )
    },
    "/webhook": {"post": _post("An annotation was saved or deleted", "Webhook", "Done", **_BUSY)},
    "/validate": {"post": _post("What is wrong with a label config", "Validate", "Problems")},
    "/versions": {
        "get": _get("The model's versions", _json(_ref("Versions"))),
        "post": _call("The model's versions", "Versions"),
    },
    "/job_status": {"post": _call("There are no jobs: all are finished", "JobStatus")},
    "/train": {"post": _call("Nothing to do", "Done")},
    "/delete": {"post": _call("Nothing to do", "Done")},
    "/duplicate_model": {"post": _call("Nothing to do", "Done")},
}

# Label Studio's webhooks carry no credentials, and health is what probes ask for.
OPEN_ROUTES = ("/health", "/webhook")


def description(*, guarded: bool) -> Schema:
    """The whole of it; `guarded` if a user name and a password are set."""
    paths = {
        path: {method: _operation(path, call, guarded) for method, call in calls.items()}
        for path, calls in _PATHS.items()
    }
    components: Schema = {"schemas": _SCHEMAS}
    if guarded:
        components["securitySchemes"] = {"basic": {"type": "http", "scheme": "basic"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SAM for Label Studio",
            "version": __version__,
            "description": "What Label Studio asks of a machine learning back end.",
        },
        "paths": paths,
        "components": components,
    }


def _operation(path: str, call: Schema, guarded: bool) -> Schema:
    if not guarded or path in OPEN_ROUTES:
        return call
    text = "user name or password is missing or wrong"
    refused = {"401": {"description": text, "content": _json(_ref("Error"))}}
    return {**call, "security": [{"basic": []}], "responses": {**call["responses"], **refused}}
