"""The embeddings of a window's modalities, whichever are there -> one embedding of the window."""
