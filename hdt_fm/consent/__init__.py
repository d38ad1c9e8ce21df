"""Who agreed to what, who left, and what of a person who left is still there."""
