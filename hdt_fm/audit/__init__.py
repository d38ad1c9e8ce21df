"""What a model tells of the people it learned from, and of people at all: membership and re-identification."""
