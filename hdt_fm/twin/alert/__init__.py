"""Nights that are unlike the person's own: the baseline, the watch, the report."""
