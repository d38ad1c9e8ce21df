"""Results -> tables, figures, cards. Reads schema only, so a table can be made where no model can."""
