"""Does the project's label config have what a click needs?"""

from __future__ import annotations

from sam_backend.clicks import label_config
from sam_backend.doctor.finding import Finding, bad, good
from sam_backend.errors import Refusal

CHECK = "Label config"
_EXAMPLE = "Change it under Settings → Labeling Interface → Code; label_configs has examples."


def judge(xml: str) -> Finding:
    try:
        problems = label_config.parse(xml).problems()
    except Refusal as refusal:
        problems = [str(refusal)]
    if problems:
        return bad(CHECK, f"{'; '.join(problems)}.", _EXAMPLE)
    return good(CHECK, "it has an image, a smart tool and a control for masks.")
