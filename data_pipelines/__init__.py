"""Device files -> shards, offline and without torch."""
