"""The door for Label Studio's ML SDK: `label-studio-ml start .` finds the model class here."""

from sam_backend.server.ml_backend import SamMLBackend

__all__ = ["SamMLBackend"]
