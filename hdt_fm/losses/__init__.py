"""Modules over ops: a loss with its learned parameters and its settings."""
