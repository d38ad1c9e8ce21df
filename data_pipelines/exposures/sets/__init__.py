"""What real sets say of the days of people: exposures and outcomes, a value a day, unknown days left unknown."""
