"""Embedding -> answer."""
