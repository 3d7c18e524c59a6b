"""The other side of `make bench`: MobileSAM as people usually serve it, from parts on PyPI.

All threads share one predictor, which keeps the last image. The SDK's encoder makes brush masks.
It runs in its own environment (requirements/bench.txt), which nothing else uses.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.request import urlopen

import cv2
import numpy as np
from flask import Flask, jsonify, request
from label_studio_sdk.converter import brush

from sam_backend.engines.torch_engine import import_torchvision

import_torchvision()

from mobile_sam import SamPredictor, sam_model_registry  # noqa: E402

app = Flask("peer")
_model = sam_model_registry["vit_t"](checkpoint=os.environ["CHECKPOINT"])
_model.eval()
predictor = SamPredictor(_model)
last_image: dict[str, str] = {}


@app.get("/health")
def health() -> Any:
    return jsonify({"status": "UP"})


@app.post("/predict")
def predict() -> Any:
    body = request.get_json()
    task, context = body["tasks"][0], (body.get("params") or {}).get("context")
    if not context:
        return jsonify({"results": []})
    url = task["data"]["image"]
    if last_image.get("url") != url:
        with urlopen(url) as response:  # noqa: S310 (the benchmark's own server)
            content = np.frombuffer(response.read(), np.uint8)
        predictor.set_image(cv2.imdecode(content, cv2.IMREAD_COLOR_RGB))
        last_image["url"] = url
    points, labels, box = [], [], None
    for region in context["result"]:
        width, height, value = region["original_width"], region["original_height"], region["value"]
        x, y = value["x"] * width / 100, value["y"] * height / 100
        if region["type"] == "rectanglelabels":
            box = [x, y, x + value["width"] * width / 100, y + value["height"] * height / 100]
        else:
            points.append([x, y])
            labels.append(int(region.get("is_positive", True)))
    masks, scores, _ = predictor.predict(
        point_coords=np.array(points) if points else None,
        point_labels=np.array(labels) if points else None,
        box=np.array(box) if box else None,
        multimask_output=True,
    )
    mask = masks[int(np.argmax(scores))].astype(np.uint8) * 255
    region = {"type": "brushlabels", "value": {"format": "rle", "rle": brush.mask2rle(mask)}}
    return jsonify({"results": [{"result": [region], "score": float(scores.max())}]})
