"""Bodies: JSON of every shape, and what is no JSON, to every route that reads one."""

from __future__ import annotations

import random

import orjson

from tests import fakes
from tests.fuzz.costs.family import Draw, Made, click, family, filled, post, request, saved, task

ROUTES = ("/webhook", "/setup", "/predict", "/validate")


def _sent(draw: Draw, content: bytes) -> Made:
    """JSON as a whole body, or somewhere in one."""
    route = draw.one_of(*ROUTES)
    inside = draw.one_of(
        b"%s",
        b'{"x":%s}',
        b'{"action":"ANNOTATION_UPDATED","task":{"id":1},"annotation":%s}',
        b'{"tasks":[{"id":1,"data":%s}],"params":{"context":{"result":[]}}}',
        b'{"project":"1.1","schema":"<View/>","extra_params":%s}',
    )
    return post(route, inside.replace(b"%s", content))


@family("body: the key of masks again and again")
def _keys(draw: Draw) -> Made:
    piece = draw.one_of(b'"rle":', b'"rle" :', b'"rle":[', b'"rle":[1,', b'"rle":[{', b'"rle"')
    return _sent(draw, b"{" + piece * draw.many(piece) + draw.one_of(b"", b"]", b"[1]}"))


@family("body: keys of masks whose array ends far behind")
def _far_ends(draw: Draw) -> Made:
    piece = draw.one_of(b'{"rle":[1,2,', b'{"rle":[', b'{"rle":[0, ')
    return _sent(draw, b"[" + piece * draw.many(piece) + b"0]}]")


@family("body: keys of masks with space behind")
def _spaces(draw: Draw) -> Made:
    space = draw.one_of(b" ", b"\n", b"\t ") * draw.one_of(1, 100, 10_000, draw.size // 2)
    piece = b'{"rle"' + space + draw.one_of(b":[1]},", b':"x"},')
    return _sent(draw, b"[" + piece * draw.many(piece) + b"0]")


@family("body: many masks of a number")
def _short_masks(draw: Draw) -> Made:
    piece = draw.one_of(b'{"rle":[1]},', b'{"rle":[]},', b'{"a":{"rle":[1,2]}},')
    return _sent(draw, b"[" + piece * draw.many(piece) + b"0]")


@family("body: the words that stand for an unread mask")
def _unread(draw: Draw) -> Made:
    mask = b'{"rle":[' + b"1," * (draw.size // 8) + b"1]},"
    number = draw.one_of(b"0", b"true", b"false", b"-1", b"1e3", b"99999999999")
    key = draw.one_of(b"rle (unread)", b"rle", b"\\u0072le", b"rle (mask)", b"rle\\u0000")
    piece = b'{"%b":%b},' % (key, number)
    return _sent(draw, b"[" + mask + piece * (draw.size // 2 // len(piece)) + b"0]")


@family("body: regions that name one unread mask")
def _unread_regions(draw: Draw) -> Made:
    mask = [1] * (draw.size // 6)
    key = draw.one_of("rle (unread)", "rle")
    size = {"original_width": 400, "original_height": 300, "to_name": "image"}
    first = {"id": "a", "type": "brushlabels", "value": {"rle": mask, "brushlabels": ["Car"]}}
    others = [
        {"id": f"b{n}", "type": "brushlabels", "value": {key: 0, "brushlabels": ["Car"]}, **size}
        for n in range(draw.size // 2 // 150)
    ]
    return click(saved(draw, [{**first, **size}, *others]))


@family("body: one key, many times")
def _double_keys(draw: Draw) -> Made:
    word = draw.one_of(b"tasks", b"params", b"a", b"task", b"config", b"schema")
    piece = b'"%b":%b,' % (word, draw.one_of(b"1", b"[]", b"{}", b'{"id":1}'))
    return post(draw.one_of(*ROUTES), b"{" + piece * draw.many(piece) + b'"z":0}')


@family("body: many keys")
def _many_keys(draw: Draw) -> Made:
    count = draw.many(b'"k123456":1,')
    keys = b",".join(b'"k%d":1' % n for n in range(count))
    return _sent(draw, b"{" + keys + b"}")


@family("body: nests")
def _nests(draw: Draw) -> Made:
    depth = min(draw.size // 8, draw.one_of(100, 250, 1000, 10_000, 10**6))
    start, end = draw.one_of((b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":[', b"]}]"))
    nest = start * depth + b"1" + end * depth
    piece = nest + b","
    return _sent(draw, b"[" + piece * (draw.size // len(piece)) + nest + b"]")


@family("body: many small values")
def _small(draw: Draw) -> Made:
    piece = draw.one_of(b"{},", b"[],", b"1,", b'"",', b"null,", b'{"id":1},', b"[[]],", b"1e9,")
    return _sent(draw, b"[" + piece * draw.many(piece) + b"0]")


@family("body: long strings")
def _strings(draw: Draw) -> Made:
    piece = draw.one_of(b"x", b"\\u0041", b'\\"', b"\\ud83d\\ude00", "é".encode(), b"\\\\", b"\\n")
    return _sent(draw, b'"' + piece * draw.many(piece) + b'"')


@family("body: long numbers")
def _numbers(draw: Draw) -> Made:
    digits = draw.one_of(b"9", b"0.", b"1e", b"-1", b"0.0000001")
    return _sent(draw, digits + b"1" * draw.one_of(30, 400, 5000, draw.size))


@family("body: not JSON")
def _no_json(draw: Draw) -> Made:
    junk = draw.one_of(
        b" " * draw.size,
        b"\xff\xfe" * (draw.size // 2),
        b"a=1&" * (draw.size // 4),
        b"<x>" * (draw.size // 3),
        b'{"a":1}' * (draw.size // 7),
        bytes(draw.size),
        random.Random(draw.dice.random()).randbytes(draw.size),
        b'"' * draw.size,
        b"\\" * draw.size,
    )
    return post(draw.one_of(*ROUTES), junk)


@family("body: other types and encodings")
def _types(draw: Draw) -> Made:
    piece = draw.one_of(
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n',
        b"a=b&",
        b"%41",
        b"\x1f\x8b",
    )
    kind = draw.one_of(
        "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/plain", ""
    )
    route = draw.one_of(*ROUTES, "/health", "/versions", "/train", "/nowhere")
    headers = {"Content-Type": kind, "Content-Encoding": draw.one_of("", "gzip", "br")}
    return request(route, piece * draw.many(piece), headers=headers.items())


@family("webhook: an annotation with many results")
def _webhook_results(draw: Draw) -> Made:
    results = filled(draw, lambda n: fakes.keypoint(f"a{n}", 50, 50))
    action = draw.one_of("ANNOTATION_CREATED", "ANNOTATIONS_DELETED", "TASKS_CREATED")
    body = {"action": action, "task": {"id": 1}, "annotation": {"id": 2, "result": results}}
    return post("/webhook", body)


@family("webhook: long names")
def _webhook_names(draw: Draw) -> Made:
    long = draw.one_of("x", "é", "ANNOTATION", "\u0000") * (draw.size // 12)
    key = draw.dice.randrange(3)
    body = {
        "action": "ANNOTATION_" + (long if key == 0 else "CREATED"),
        "task": {"id": draw.one_of(long, [long], {"a": long}) if key == 1 else 1},
        "project": {"id": long if key == 2 else 1},
    }
    return post("/webhook", body)


@family("webhook: ids of many kinds")
def _webhook_ids(draw: Draw) -> Made:
    ids = filled(draw, lambda n: draw.one_of(n, str(n), [n], None, {"id": n}))
    return post("/webhook", {"action": "ANNOTATIONS_DELETED", "task": {"id": ids}})


@family("setup: extra params")
def _extra_params(draw: Draw) -> Made:
    half = draw.size // 2
    params = draw.one_of(
        {f"key{n}": n for n in range(draw.size // 14)},
        {"candidates": "9" * half, "sam_output": "x" * half},
        {"sam_output": ["tag"] * (draw.size // 6)},
        {"candidates": [[]] * (draw.size // 3)},
        [1] * (draw.size // 2),
    )
    extra = draw.one_of(params, orjson.dumps(params).decode(), "{" * half)
    setup = {"project": "1.1", "schema": fakes.BRUSH_LABELS, "extra_params": extra}
    reset = {**setup, "extra_params": {}}
    return post("/setup", setup), click([task()]), post("/setup", reset)


@family("setup: long words")
def _setup_words(draw: Draw) -> Made:
    long = draw.one_of("x", "é", "/", "[", "@", "\\", "a.", "%41", "\n") * (draw.size // 4)
    host = f"http://127.0.0.1:9/{long}"
    key = draw.one_of("project", "hostname", "access_token", "schema", "extra_params")
    return post("/setup", {"project": "1.2", key: draw.one_of(long, host)})


@family("no password, or another one")
def _no_password(draw: Draw) -> Made:
    body = b'{"tasks":[' + b"{}," * (draw.size // 3) + b"{}]}"
    password = draw.one_of(None, "", "wrong", "é", "x" * 5000)
    route = draw.one_of("/setup", "/predict", "/validate", "/train", "/versions", "/nowhere")
    return request(route, body, password=password)


@family("routes that need no body")
def _other_routes(draw: Draw) -> Made:
    route = draw.one_of("/versions", "/job_status", "/train", "/delete", "/duplicate_model")
    piece = draw.one_of(b"[", b'{"a":1},', b"x", b'"rle":')
    return request(route, piece * draw.many(piece))
