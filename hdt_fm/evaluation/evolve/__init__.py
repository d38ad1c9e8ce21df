"""Level 4 on simulated and real people: dose, streams of domains, drift, killed updates, real exposure."""
