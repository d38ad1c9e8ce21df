"""Protocols over cohorts: each runs the leak audit, then its own models beside the baselines it owes -> Result."""
