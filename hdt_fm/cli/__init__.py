"""The one entry `hdt-fm VERB`: compose, instantiate, call. Nobody imports this room but scripts and tests."""
