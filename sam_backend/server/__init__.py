"""The HTTP server: the app, its routes, admission, the status page."""
