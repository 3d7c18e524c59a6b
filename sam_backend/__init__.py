"""Everything between Label Studio's requests and a SAM engine, one job a module."""
