"""Is a person, a sensor or a record no longer what the twin learned? What to do about it is told, never done."""
