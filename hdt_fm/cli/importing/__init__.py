"""A foreign or older file of weights becomes a checkpoint of ours: read apart, renamed, counted, recorded."""
