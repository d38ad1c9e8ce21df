"""Recording -> clean windows, in numpy: the same code when shards are made and when a model is used."""
