"""What was eaten, as text with grams (English or Chinese) or as measured macros -> energy and macros, a day."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_pipelines.exposures._foods import NO_FOOD, OIL_G, OIL_WORDS, SOUP, SOUP_SHARE, SOUP_WORDS, Food, foods
from data_pipelines.exposures._told import Days, Event, Watched, Whose
from hdt_fm.schema.exposure import Exposure

# Without mg: nobody writes down milligrams of a dish, so it is a slip of the pen and the amount unknown.
_GRAMS = {"g": 1.0, "ml": 1.0, "克": 1.0, "毫升": 1.0, "kg": 1e3, "l": 1e3, "两": 50.0}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*(grams?|kg|mg|g|ml|l|克|毫升|两)(?![a-z])", re.IGNORECASE)
_SEPARATORS = " \t,，、.。;；:：+()（）"
_CHINESE = re.compile(r"[㐀-鿿]")
# kcal of a gram (Atwater's general factors; alcohol 7).
_KCAL = np.array([4.0, 4.0, 9.0, 7.0])
_MACROS = ("carbs_g", "protein_g", "fat_g")


@dataclass(frozen=True)
class Eaten:
    """One line of a diary.

    Attributes:
        name: Of the dish.
        grams: None where no amount is told.
        macros: Carbohydrates, protein, fat, alcohol in g; None where the dish or its amount is not known.
    """

    name: str
    grams: float | None
    macros: tuple[float, float, float, float] | None


class Diet:
    """A food table of our own and the grams of dishes; measured macros are taken as they are.

    A dish of several foods is their mean, in equal parts; a soup is mostly water; fried and braised dishes bring oil. A
    line without an amount, or of which no food is known, makes its meal unknown, and an unknown meal its day: never 0.

    Units: `diet_energy` kcal, `diet_carbs`, `diet_protein`, `diet_fat`, `alcohol` g of the day.
    Lossy: Fibre, salt, how fast a meal is. A millilitre is taken as a gram, milligrams of a food as a slip of the pen.

    Args:
        own_foods: Word -> macros of 100 g, for foods that the table lacks or that are other ones here.
        least_watched: A day of which less was watched (written down) is unknown.
        least_meals: A watched day with fewer meals is unknown: hardly anybody fasts, many do not write.
    """

    gives = ("diet_energy", "diet_carbs", "diet_protein", "diet_fat", "alcohol")

    def __init__(
        self, *, own_foods: Mapping[str, Food] | None = None, least_watched: float = 0.8, least_meals: int = 2
    ) -> None:
        self._lexicon = Lexicon({**foods(), **(own_foods or {})})
        self._least, self._meals = least_watched, least_meals

    def __call__(self, events: Sequence[Event], watched: Watched, whose: Whose) -> tuple[Exposure, ...]:
        """A value a day. Events other than `meal` do not count; a meal has `text`, or `amounts` (`carbs_g`, ...)."""
        days = Days.of(watched)
        meals = [one for one in events if one.kind == "meal"]
        at = days.index(np.array([one.start_s for one in meals]))
        inside = [(int(day), self.macros(one)) for day, one in zip(at, meals, strict=True) if 0 <= day < days.count]
        total, count = np.zeros((days.count, 4)), np.zeros(days.count)
        for day, macros in inside:
            total[day] += np.full(4, np.nan) if macros is None else np.array(macros)
            count[day] += 1
        known = (days.share(watched) >= self._least - 1e-9) & (count >= self._meals)
        total[~known] = np.nan
        values = (total @ _KCAL, *total.T)
        return tuple(days.exposure(kind, value, whose) for kind, value in zip(self.gives, values, strict=True))

    def macros(self, meal: Event) -> tuple[float, float, float, float] | None:
        """Carbohydrates, protein, fat, alcohol of a meal in g; None if any part of it is unknown."""
        if meal.amounts is not None:
            told = [float(meal.amounts.get(name, np.nan)) for name in _MACROS]
            carbs, protein, fat = told
            return None if np.isnan(told).any() else (carbs, protein, fat, float(meal.amounts.get("alcohol_g", 0)))
        parts = [one.macros for one in self.read(meal.text)]
        if not parts or any(part is None for part in parts):
            return None
        carbs, protein, fat, alcohol = np.sum([part for part in parts if part is not None], axis=0).tolist()
        return carbs, protein, fat, alcohol

    def read(self, text: str) -> list[Eaten]:
        """A diary's text, line by line and amount by amount."""
        return [Eaten(name, grams, self._of(name, grams)) for name, grams in _lines(text)]

    def _of(self, name: str, grams: float | None) -> tuple[float, float, float, float] | None:
        if grams is None or (each := self._lexicon.per_100_g(name)) is None:
            return None
        carbs, protein, fat, alcohol = (each * grams / 100).tolist()
        return carbs, protein, fat, alcohol


def _lines(text: str) -> Iterator[tuple[str, float | None]]:
    """Name and grams: `Rice 90 g`, `90g rice` and `米饭90g`; a name without an amount has None."""
    for line in re.split(r"[\r\n;；]+", text):
        found = list(_AMOUNT.finditer(line))
        names = [line[begin:end].strip(_SEPARATORS) for begin, end in _between(found, len(line))]
        amounts = [_grams(one) for one in found]
        # The amount stands before its food in some diaries, and after it in most.
        first = bool(found) and not names[0]
        yield from zip(names[1:] if first else names[: len(found)], amounts, strict=True)
        if not first and names[-1]:
            yield names[-1], None


def _between(found: Sequence[re.Match[str]], length: int) -> list[tuple[int, int]]:
    begins, ends = [0, *(one.end() for one in found)], [*(one.start() for one in found), length]
    return list(zip(begins, ends, strict=True))


def _grams(amount: re.Match[str]) -> float | None:
    scale = _GRAMS.get(amount[2].lower().removesuffix("s").removesuffix("ram"))
    return None if scale is None else scale * float(amount[1])


class Lexicon:
    """Words of foods, and what 100 g of a dish of that name have."""

    def __init__(self, named: Mapping[str, Food]) -> None:
        self._foods, self._words = dict(named), _either(named)

    def per_100_g(self, name: str) -> np.ndarray | None:
        """Macros of 100 g; None if no food is known in it."""
        text = _NO_FOOD.sub("|", " ".join(name.lower().replace("-", " ").split()))
        found = [self._foods[match[1] or match[2]] for match in self._words.finditer(text)]
        # A word of cooking inside of a food's own (steamed twisted roll) is no second one.
        rest = self._words.sub("|", text)
        soup = _SOUP.search(rest) is not None
        whole = [food for food in found if food.whole]
        named = whole or found
        if not named:
            return _row(SOUP) if soup else None
        mean = np.mean([_row(food) for food in named], axis=0)
        if whole:
            return mean
        if soup:
            return mean * SOUP_SHARE
        return mean + np.array([0, 0, OIL_G, 0]) * (_OIL.search(rest) is not None)


def _either(words: Iterable[str]) -> re.Pattern[str]:
    """One pattern of many words, the longest first; English ones stand alone, apart from a plural's ending."""
    ordered = sorted(words, key=len, reverse=True)
    chinese = "|".join(re.escape(word) for word in ordered if _CHINESE.search(word))
    english = "|".join(re.escape(word) for word in ordered if not _CHINESE.search(word))
    return re.compile(rf"({chinese})|\b({english})(?:s|es)?\b")


def _row(food: Food) -> np.ndarray:
    return np.array([food.carbs, food.protein, food.fat, food.alcohol], dtype=np.float64)


_SOUP, _NO_FOOD, _OIL = _either(SOUP_WORDS), _either(NO_FOOD), _either(OIL_WORDS)
