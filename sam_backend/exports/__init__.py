"""Masks out of Label Studio's exports into files for training, and back."""
