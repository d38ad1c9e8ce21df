"""Simulated nights with known truth, and how alerts are scored on them."""
