"""One person over time: their own baseline, and nights that depart from it."""
