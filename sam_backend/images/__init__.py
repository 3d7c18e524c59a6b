"""From a task to the pixels of its image."""
