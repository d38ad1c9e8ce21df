"""One person's nights as rows of named numbers, from a table or from what devices recorded."""
