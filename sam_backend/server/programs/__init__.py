"""The engine over HTTP, for programs and for the page to try it."""
