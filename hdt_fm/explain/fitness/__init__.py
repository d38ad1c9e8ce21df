"""Whether a method finds what was planted, asked of models of one architecture."""
