"""The hours ahead of a slow signal, with the person's own interval."""
