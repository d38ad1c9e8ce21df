"""Sub-models: what happened to a person, as numbers with a unit. A file a sub-model, called by its name."""
