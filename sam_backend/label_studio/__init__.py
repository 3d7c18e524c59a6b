"""Access to Label Studio: which one is trusted, tokens, its API."""
