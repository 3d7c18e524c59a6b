"""From the prompts of a click to masks and results. Pure functions without I/O."""
