"""Label configs, to each route that reads them."""

from __future__ import annotations

from collections.abc import Callable
from xml.sax.saxutils import quoteattr

from tests import fakes
from tests.fuzz.costs.family import (
    PICTURE,
    Draw,
    Made,
    click,
    family,
    numbers,
    opened,
    post,
    task,
)

_TAGS = ("BrushLabels", "KeyPointLabels", "RectangleLabels", "PolygonLabels", "Labels", "Brush")
_IMAGE = '<Image name="image" value="$image"/>'


def _sent(draw: Draw, inner: str, image: str = PICTURE) -> Made:
    config = f"<View>{inner}<!--{next(numbers)}--></View>"
    made: bytes = draw.one_of(
        lambda: post("/validate", {"config": config}),
        lambda: post("/setup", {"project": "1.3", "schema": config}),
        lambda: click([task(image)], config=config),
        lambda: opened([task(image)], config),
    )()
    return made


def _control(tag: str, inner: str = "", *, name: str = "c", to: str = "image") -> str:
    return f'<{tag} name={quoteattr(name)} toName={quoteattr(to)} smart="true">{inner}</{tag}>'


def _labels(count: int, word: str = "L") -> str:
    return "".join(f'<Label value="{word}{n}"/>' for n in range(count))


def _of(draw: Draw, piece: Callable[[int], str], share: float = 1.0) -> str:
    """Pieces until the config has the size."""
    found, left, number = list[str](), int(draw.size * share), 0
    while left > 0:
        found.append(piece(number))
        left -= len(found[-1]) + found[-1].count('"')  # which JSON escapes
        number += 1
    return "".join(found)


@family("config: controls in controls")
def _nested(draw: Draw) -> Made:
    depth = min(draw.one_of(10, 100, 900), draw.size // 120)
    tag = draw.one_of(*_TAGS)
    open_tags = "".join(f'<{tag} name="c{n}" toName="image" smart="true">' for n in range(depth))
    left = max(1, (draw.size - 120 * depth) // 24)
    return _sent(draw, _IMAGE + open_tags + _labels(left) + f"</{tag}>" * depth)


@family("config: many controls with labels")
def _controls(draw: Draw) -> Made:
    labels = _labels(draw.one_of(1, 10, 100))
    tags = [draw.one_of(*_TAGS) for _ in range(7)]
    return _sent(draw, _IMAGE + _of(draw, lambda n: _control(tags[n % 7], labels, name=f"c{n}")))


@family("config: many labels")
def _many_labels(draw: Draw) -> Made:
    def label(n: int) -> str:
        kinds = f'<Label value="a{n}"/>', f'<Label value="x{n}" alias="y{n % 9}"/>', "<Label/>"
        return draw.dice.choice(kinds)

    labels = _of(draw, label, 0.5)
    return _sent(
        draw, _IMAGE + _control("BrushLabels", labels) + _control("KeyPointLabels", labels)
    )


@family("config: labels that another control lacks")
def _missing(draw: Draw) -> Made:
    prompts = draw.one_of(1, 30, 300)
    share = draw.size // 2 // 24
    own = "".join(
        _control("KeyPointLabels", _labels(share // prompts, f"k{n}x"), name=f"k{n}")
        for n in range(prompts)
    )
    return _sent(draw, _IMAGE + _control("BrushLabels", _labels(share)) + own)


@family("config: labels known by another name only")
def _aliases(draw: Draw) -> Made:
    """The label is looked for in every prompt's control; it stands in the last one."""
    prompts = draw.one_of(2, 100, 450)
    labels = _labels(draw.size // 2 // 24)
    others = "".join(
        _control("KeyPointLabels", '<Label value="z"/>', name=f"k{n}") for n in range(prompts)
    )
    aliased = "".join(f'<Label value="L{n}" alias="A{n}"/>' for n in range(draw.size // 3 // 45))
    last = _control("RectangleLabels", aliased, name="last")
    return _sent(draw, _IMAGE + _control("BrushLabels", labels) + others + last)


@family("config: names of many images")
def _to_names(draw: Draw) -> Made:
    names = ",".join(f"i{n}" for n in range(min(draw.size // 10, draw.one_of(400, 950, 10**6))))
    labels = _labels(draw.size // 3 // 24)
    return _sent(
        draw, _IMAGE + _control("BrushLabels", labels, to=names) + _control("KeyPoint", to=names)
    )


@family("config: long words")
def _words(draw: Draw) -> Made:
    long = draw.one_of("x", "$", "é", " ", ",", "a,", "{{idx}}", "&#65;") * (draw.size // 8)
    return _sent(
        draw,
        draw.one_of(
            f'<Image name="image" value="${long}"/>' + _control("KeyPoint") + _control("Brush"),
            f'<Image name="{long}" value="$image"/>' + _control("KeyPoint", to=long),
            _IMAGE + _control("BrushLabels", f'<Label value="{long}"/>'),
            _IMAGE + _control("KeyPointLabels", _labels(2), name=long),
            _IMAGE + f'<KeyPoint name="k" toName="image" smart="true" sam_output="{long}"/>',
            _IMAGE + f'<KeyPoint name="k" toName="image" smart="true" candidates="{long}"/>',
            _IMAGE + f"<{'a' * (draw.size // 4)}/>",
        ),
    )


@family("config: many attributes")
def _attributes(draw: Draw) -> Made:
    attributes = _of(draw, lambda n: f' a{n}="{draw.one_of("", "x", "$y")}"')
    return _sent(draw, f'{_IMAGE}<Brush name="b" toName="image"{attributes}/>')


@family("config: namespaces and entities")
def _namespaces(draw: Draw) -> Made:
    inner = draw.one_of(
        _of(draw, lambda n: f'<a xmlns:n{n}="u{n}"/>'),
        "<a " + _of(draw, lambda n: f'xmlns:n{n}="u{n}" ') + "/>",
        _of(draw, lambda n: f'<n:a xmlns:n="{n}"><n:b/></n:a>'),
        _of(draw, lambda _: "&#120;"),
        _of(draw, lambda _: "&amp;"),
    )
    return _sent(draw, _IMAGE + inner)


@family("config: a document type")
def _doctype(draw: Draw) -> Made:
    body = draw.one_of(
        _of(draw, lambda n: f"<!ENTITY e{n} 'x'>"),
        _of(draw, lambda n: f"<!ENTITY e{n + 1} '&e{n};&e{n};'>"),
        _of(draw, lambda n: f"<!ATTLIST V a{n} CDATA 'x'>"),
        _of(draw, lambda n: f"<!ELEMENT V{n} ANY>"),
    )
    return post("/validate", {"config": f"<!DOCTYPE V [{body}]><V/>"})


@family("config: tags in tags")
def _deep(draw: Draw) -> Made:
    tag = draw.one_of("View", "a", "Label", 'Label value="x"', 'View name="v"')
    count = draw.size // (len(tag) + 8)
    return _sent(draw, _IMAGE + f"<{tag}>" * count + f"</{tag.split()[0]}>" * count)


@family("config: text, comments and processing")
def _text(draw: Draw) -> Made:
    piece = draw.one_of("x", "<!--x-->", "<![CDATA[x]]>", "<?x y?>", "]]&gt;", "<b/>", "\n")
    return _sent(draw, _IMAGE + piece * (draw.size // (len(piece) + 1)))


@family("config: broken XML")
def _broken(draw: Draw) -> Made:
    piece = draw.one_of("<", "<a", "</a>", "<!--", "<![CDATA[", "&", '<a b="', "<a><b></a>")
    return _sent(draw, piece * (draw.size // (len(piece) + 1)))


@family("config: many images, one long address", goes_on=True)
def _images(draw: Draw) -> Made:
    """One data: URL that every image shows; or no picture at all."""
    half = draw.size // 2
    tag = draw.one_of("Image", "Image zoom='true'")
    images = "".join(f"<{tag} name='i{n}' value='$image'/>" for n in range(half // 40))
    content = draw.one_of("A", "/9j/") * (half // 4)
    image = (
        draw.one_of("data:image/png;base64,", "data:image/png;base64,!", "s3://b/", "/") + content
    )
    return opened([task(image)], f"<View>{images}{_control('Brush')}<!--{next(numbers)}--></View>")


@family("config: many images, many prompts")
def _images_and_prompts(draw: Draw) -> Made:
    count = min(190, max(1, draw.size // 700))
    images = "".join(f"<Image name='i{n}' value='$d{n}'/>" for n in range(count))
    controls = _control("Brush", to=",".join(f"i{n}" for n in range(count)))
    data = {f"d{n}": "data:image/png;base64,AAAA" for n in range(count)}
    prompts = [fakes.keypoint(f"p{n}", 50, 50, to_name=f"i{n}") for n in range(count)]
    tasks = [{"id": 1, "data": data}]
    return click(tasks, prompts, f"<View>{images}{controls}</View>")
