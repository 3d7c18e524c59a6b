"""From the prompts of a click to masks and results. Pure functions; no I/O."""
