"""What can be explained: one number of an answer, as a function Batch -> (batch, target)."""
