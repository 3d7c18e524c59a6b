"""The model class for Label Studio's ML SDK: `label-studio-ml start .` finds it here."""

from sam_backend.server.ml_backend import SamMLBackend

__all__ = ["SamMLBackend"]
