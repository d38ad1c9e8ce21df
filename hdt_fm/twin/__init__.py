"""One person over time: nights unlike their own, and the hours ahead."""
