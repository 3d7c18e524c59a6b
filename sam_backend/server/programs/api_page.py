"""The description of /openapi.json as a page: plain HTML, made of the description alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Schema = Mapping[str, Any]

_FOR_PROGRAMS = ("/v1/", "/sam2/")


def page(description: Mapping[str, Any]) -> str:
    """Each route with its fields and its answers; those for programs come first."""
    schemas = description["components"]["schemas"]
    paths = sorted(description["paths"].items(), key=lambda p: not p[0].startswith(_FOR_PROGRAMS))
    sections = [
        _section(path, method, call, schemas)
        for path, calls in paths
        for method, call in calls.items()
    ]
    return _PAGE.format(
        version=escape(str(description["info"]["version"])), sections="".join(sections)
    )


def _section(path: str, method: str, call: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    parts = [
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(call['summary'])}</p>"
    ]
    body = call.get("requestBody", {}).get("content", {})
    if body:
        parts.append(f"<h3>Request: {escape(', '.join(body))}</h3>")
        parts += [_fields(content["schema"], schemas) for content in body.values()][:1]
    good = {status: a for status, a in call["responses"].items() if status < "300"}
    for status, answer in good.items():
        parts.append(f"<h3>{status}: {escape(answer['description'])}</h3>")
        parts += [_fields(c["schema"], schemas) for c in answer.get("content", {}).values()]
    errors = [(s, a["description"]) for s, a in call["responses"].items() if s not in good]
    if errors:
        items = "".join(f"<li>{status}: {escape(text)}</li>" for status, text in errors)
        numbers = ", ".join(status for status, _ in errors)
        parts.append(f"<details><summary>Errors: {numbers}</summary><ul>{items}</ul></details>")
    return f"<section>{''.join(parts)}</section>"


def _fields(schema: Schema, schemas: Mapping[str, Any]) -> str:
    """A table of a schema's fields."""
    rows = [
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_type(field))}</td>"
        f"<td>{escape(_resolved(field, schemas).get('description', ''))}</td></tr>"
        for name, field in _properties(schema, schemas)
    ]
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _properties(schema: Schema, schemas: Mapping[str, Any]) -> Iterator[tuple[str, Schema]]:
    schema = _resolved(schema, schemas)
    yield from schema.get("properties", {}).items()
    for other in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _properties(other, schemas)


def _resolved(schema: Schema, schemas: Mapping[str, Any]) -> Schema:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Schema = schemas[name] if name else schema
    return found


def _type(schema: Schema) -> str:
    """A field's type in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(map(_type, schema["anyOf"]))
    kind = schema.get("type", "")
    if kind == "array" and "items" in schema:
        return f"[{_type(schema['items'])}, …]"
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>For programs · SAM for Label Studio</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/docs.css">
</head>
<body>
<header>
<h1>Masks for programs</h1>
<p>Version {version}. Embed an image once, then segment it as often as you like.</p>
</header>
<main>
<pre>curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://localhost:9090/v1/embed
curl --json '{{"image_id": "…", "points": [[300, 200]]}}' http://localhost:9090/v1/segment</pre>
<p>The same as a file for other programs: <a href="openapi.json">openapi.json</a>.</p>
{sections}
</main>
</body>
</html>
"""
