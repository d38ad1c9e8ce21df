"""Pure tensor functions, a folder each."""
