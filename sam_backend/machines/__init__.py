"""What several machines share, in a Redis server that may be absent at any time."""
