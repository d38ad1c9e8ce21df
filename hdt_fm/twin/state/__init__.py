"""One person's twin as a state that readings are absorbed into, window by window, without growing."""
