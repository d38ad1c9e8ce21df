"""Students of a model: small models that people can read, fitted to its output on named features of the windows."""
