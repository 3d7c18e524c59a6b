"""Embeddings of images: in memory, on disk, encoded once."""
