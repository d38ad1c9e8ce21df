"""Blocks that encoders and heads share."""
