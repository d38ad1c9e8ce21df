"""What prepared windows of the people that a model learned from look like, in four numbers a modality.

They are medians over people, of whom none is told by them; a recording that is far from all of them is in another unit,
upside down, at another rate, or of another device, and a model would take it without a word.
"""

from pydantic import Field

from hdt_fm.schema.preparation import Plain

# Of fewer, a median would be somebody's own number.
LEAST_PEOPLE = 5


class Spread(Plain):
    """A number over people: its median, and 1.4826 times the median distance from it."""

    median: float
    spread: float = Field(ge=0)


class Typical(Plain):
    """Of one modality, each over people, and of a person the median over windows.

    Attributes:
        people: How many it was learned from; 0 where only a model's center and scale are known.
        level: Natural logarithm of how large values are (the median over time of the length over channels).
        side: Of one channel: its median, as a share of the level; 1 is all above zero, -1 all below.
        lean: Which way it leans: of pulses the skewness of their slopes, of all else that of values, of one channel.
        pace: Natural logarithm of how often a second it crosses its own median, over channels; None if it stands
            still.
    """

    people: int = Field(ge=0)
    level: Spread
    side: Spread | None = None
    lean: Spread | None = None
    pace: Spread | None = None
