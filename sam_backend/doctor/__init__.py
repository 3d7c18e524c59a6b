"""What keeps clicks from working: one module a check, each with a pure judgement."""
