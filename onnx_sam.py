"""The ONNX engine for your own scripts: `from onnx_sam import OnnxSam`."""

from sam_backend.engines.onnx_engine import OnnxSam

__all__ = ["OnnxSam"]
