"""One plan against another for one person, with all that says how far to trust it."""
