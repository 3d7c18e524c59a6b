"""Models that make an embedding of an image, and masks of an embedding and prompts."""
