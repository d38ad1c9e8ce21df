"""Which parts of a window an output rests on, and whether the answer to that may be trusted."""
