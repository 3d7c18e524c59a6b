"""The engine for programs, without Label Studio: images, prompts and masks as Python objects."""
