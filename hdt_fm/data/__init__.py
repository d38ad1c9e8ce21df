"""Shards -> batches."""
