"""The PyTorch engine for your own scripts: `from advanced_sam import TorchSam`."""

from sam_backend.engines.torch_engine import TorchSam

__all__ = ["TorchSam"]
