"""Pretraining by Lightning, heads by a plain loop; models, losses and data are passed in."""
