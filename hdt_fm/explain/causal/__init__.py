"""What would have to be true for an effect in the body to be read from a record, and what speaks against it."""
