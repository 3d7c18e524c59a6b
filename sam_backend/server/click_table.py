"""The table of the last clicks on the status page."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from html import escape

from sam_backend.shared.click_log import ClickRecord
from sam_backend.watched_click import STAGES


def table(clicks: Sequence[ClickRecord]) -> str:
    """The clicks, newest first. It scrolls sideways within itself where the screen is narrow."""
    if not clicks:
        return (
            "<p>None so far. If you clicked in the editor, <b>Auto-Annotation</b> or "
            "<b>Interactive preannotations</b> is off, or another model of the project "
            "comes first.</p>"
        )
    has_thumbnails = any(click.thumbnail for click in clicks)
    names = ["When", "Task", "Prompts", "Engine", *STAGES, "total", "Result"]
    names += ["Mask"] if has_thumbnails else []
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(_row(click, has_thumbnails=has_thumbnails) for click in clicks)
    return (
        "<p>Times are in milliseconds.</p>"
        f'<div class="wide"><table class="clicks"><tr>{head}</tr>{rows}</table></div>'
    )


def _row(click: ClickRecord, *, has_thumbnails: bool) -> str:
    took = [click.milliseconds[stage] for stage in STAGES]
    texts = [
        time.strftime("%H:%M:%S", time.localtime(click.time)),
        click.task,
        click.prompts,
        click.engine,
    ]
    cells = "".join(f"<td>{escape(text)}</td>" for text in texts)
    cells += "".join(
        f'<td class="n">{milliseconds:.0f}</td>' for milliseconds in (*took, sum(took))
    )
    cells += f"<td>{escape(_result(click))}</td>"
    if has_thumbnails:
        cells += f"<td>{_picture(click.thumbnail)}</td>"
    return f"<tr>{cells}</tr>"


def _result(click: ClickRecord) -> str:
    if not click.regions:
        return click.outcome or "nothing"
    masks = "1 mask" if click.regions == 1 else f"{click.regions} masks"
    return f"{masks}, {max(1, round(click.answer_bytes / 1000))} kB"


def _picture(png: bytes | None) -> str:
    if png is None:
        return ""
    return f'<img alt="mask" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
