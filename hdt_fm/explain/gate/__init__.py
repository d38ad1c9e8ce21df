"""Tests that a map must pass before anyone may trust it."""
