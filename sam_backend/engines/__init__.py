"""Models that turn an image into an embedding, and an embedding with prompts into masks."""
