"""Everything between Label Studio's requests and a SAM engine, one job a module."""

__version__ = "0.1.0"
