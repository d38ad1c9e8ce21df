"""Credit gathered by what a body does: by frequency band of the input, and around beats, breaths, meals and doses."""
