"""Pure scores in numpy. Each takes an optional weight per row, which is what the bootstrap varies."""
