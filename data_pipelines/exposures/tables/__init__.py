"""Text tables of exposures: which column is of what, in which unit; days of many people, or one person's own."""
