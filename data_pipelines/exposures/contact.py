"""Calls, messages and places -> minutes in company, and how many different people, a day."""

from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines.exposures._told import Days, Event, Watched, Whose, levelled
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.exposure import Exposure

# Share of a stay that counts as company: our assumption, to be set anew for people of whom more is known.
COMPANY: Mapping[str, float] = {
    "visit": 1.0,
    "restaurant": 0.8,
    "entertainment": 0.7,
    "school": 0.7,
    "work": 0.5,
    "gym": 0.3,
    "shop": 0.2,
    "transit": 0.1,
    "outdoors": 0.1,
    "home": 0.0,
    "home_office": 0.0,
    "other": 0.0,
}


class Contact:
    """Minutes in company: a call counts in full, a message for a while, a stay by the share that its category has.

    Where they overlap, the one that counts most counts alone, so a day never has more than its 1,440 minutes; messages
    come on top, since many can be written in one minute, and stop there as well.

    Units: `social_contact` min, `social_people` different people of calls, messages and visits of the day.
    Lossy: What was said, by whom, and how close people are. Events on days of which nothing was watched.

    Args:
        company: Share of a stay by category of place.
        message_min: Minutes that a message stands for.
        least_watched: A day of which less was watched is unknown, not quiet.
    """

    gives = ("social_contact", "social_people")

    def __init__(
        self, *, company: Mapping[str, float] = COMPANY, message_min: float = 0.5, least_watched: float = 0.8
    ) -> None:
        self._company, self._message_min, self._least = dict(company), message_min, least_watched

    def __call__(self, events: Sequence[Event], watched: Watched, whose: Whose) -> tuple[Exposure, ...]:
        """A value a day.

        Raises:
            ReaderError: If a kind of event is none of call, message and the known categories.
        """
        days = Days.of(watched)
        known = days.share(watched) >= self._least - 1e-9
        stays = [(one.start_s, one.end_s, self._weight(one.kind)) for one in events if one.kind != "message"]
        begins, ends, weights = levelled([stay for stay in stays if stay[1] > stay[0]])
        minutes = (days.overlap_s(begins, ends) * weights[:, None]).sum(axis=0) / 60
        people: list[set[str]] = [set() for _ in range(days.count)]
        for one in events:
            at = int(days.index(np.array([one.start_s]))[0])
            if 0 <= at < days.count:
                minutes[at] += self._message_min * (one.kind == "message")
                people[at] |= {one.who} - {""}
        counts = np.array([len(who) for who in people], dtype=np.float64)
        values = (np.minimum(minutes, 1_440.0), counts)
        return tuple(
            days.exposure(kind, np.where(known, value, np.nan), whose)
            for kind, value in zip(self.gives, values, strict=True)
        )

    def _weight(self, kind: str) -> float:
        if kind == "call":
            return 1.0
        if kind not in self._company:
            raise ReaderError(
                "A kind of event is not known",
                where="contact",
                expected=f"call, message, or one of: {', '.join(sorted(self._company))}",
                fix="rename it, or give its share of company as `company`",
            )
        return self._company[kind]
