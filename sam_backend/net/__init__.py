"""Addresses that may be connected to, and an HTTP client that connects to no others."""
