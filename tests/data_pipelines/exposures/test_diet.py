"""Grams read from what people write, against the table and sums by hand; and what the published diaries say."""

import numpy as np
import pytest

from data_pipelines.exposures._foods import NO_FOOD, OIL_WORDS, SOUP_WORDS, Food, foods
from data_pipelines.exposures._told import DAY_S, Event, Whose
from data_pipelines.exposures.diet import Diet
from data_pipelines.exposures.sets.shanghai import shanghai_diaries
from hdt_fm.schema.errors import ReaderError

H = 3600.0
DIET = Diet()


def macros(text):
    return DIET.macros(Event("meal", 0.0, text=text))


def test_the_table_is_possible_food():
    table = foods()
    assert len(table) > 700
    for word, food in table.items():
        parts = (food.carbs, food.protein, food.fat, food.alcohol)
        assert min(parts) >= 0, word
        assert sum(parts) <= 100, word
    assert not set(table) & {*SOUP_WORDS, *OIL_WORDS, *NO_FOOD}


@pytest.mark.parametrize("text", ["Rice 90 g", "rice 90g", "90 g of rice", "米饭90g", "米饭90克", "Rice 0.09 kg"])
def test_rice_by_hand_in_every_way_of_writing(text):
    assert macros(text) == pytest.approx((23.4, 2.43, 0.36, 0))


def test_lines_add_up_and_both_languages_agree():
    english = macros("Rice 100 g\nEgg 50 g\nMilk 200 ml")
    assert english == pytest.approx((26 + 0.75 + 10, 2.7 + 6.5 + 6.4, 0.4 + 5 + 6.6, 0))
    assert macros("米饭100g\r\n鸡蛋50g\r\n牛奶200ml") == english
    assert macros("Rice 100 g Egg 50 g, Milk 200 ml") == english


def test_a_dish_is_the_mean_of_its_foods_and_brings_oil_when_it_is_fried():
    plain = np.mean([(4, 1.6, 0.3), (2, 18, 16)], axis=0)
    assert macros("Boiled pork with celery 100 g")[:3] == pytest.approx(plain)
    assert macros("Fried pork with celery 100 g")[:3] == pytest.approx(plain + np.array([0, 0, 4]))
    assert macros("Celery soup 100 g")[:3] == pytest.approx(np.array([4, 1.6, 0.3]) * 0.3)
    # A dumpling is a dish of its own: the pork is in it.
    assert macros("Pork and celery dumplings 100 g") == macros("Dumpling 100 g")
    assert macros("Sugar free biscuit 10 g") == macros("Biscuit 10 g")


@pytest.mark.parametrize(
    "text",
    ["", "Rice", "data not available", "6 red dates", "Rice 100 g\nred dates", "Xyzzy 50 g", "Milk 160 mg", "100 g"],
)
def test_what_is_not_told_is_not_zero(text):
    assert macros(text) is None


def test_measured_macros_are_taken_as_they_are():
    told = Event("meal", 0.0, text="Rice 90 g", amounts={"carbs_g": 60.0, "protein_g": 20.0, "fat_g": 10.0})
    assert DIET.macros(told) == (60, 20, 10, 0)
    assert DIET.macros(Event("meal", 0.0, amounts={"carbs_g": 60.0})) is None


def test_a_day_is_known_if_every_meal_of_it_is():
    meals = [
        Event("meal", 8 * H, text="Rice 100 g"),
        Event("meal", 18 * H, text="Egg 100 g\nBeer 500 ml"),
        Event("meal", DAY_S + 8 * H, text="Rice 100 g"),
        Event("meal", DAY_S + 9 * H, text="data not available"),
        Event("meal", 2 * DAY_S + 8 * H, text="Rice 100 g"),
        Event("call", 3 * DAY_S + 8 * H, 60.0),
    ]
    energy, carbs, protein, fat, alcohol = (one.values.tolist() for one in DIET(meals, [(0.0, 4 * DAY_S)], Whose(0, 0)))
    # Unknown: a meal not written down, a day of one meal, a day of none.
    expected = {"carbs": 26 + 1.5 + 17.5, "protein": 2.7 + 13 + 2, "fat": 0.4 + 10, "alcohol": 20.0}
    for found, name in ((carbs, "carbs"), (protein, "protein"), (fat, "fat"), (alcohol, "alcohol")):
        assert found == pytest.approx([expected[name], *[np.nan] * 3], nan_ok=True)
    kcal = 4 * expected["carbs"] + 4 * expected["protein"] + 9 * expected["fat"] + 7 * expected["alcohol"]
    assert energy[0] == pytest.approx(kcal)


def test_own_foods_come_before_the_table():
    own = Diet(own_foods={"rice": Food(10, 0, 0), "xyzzy": Food(0, 50, 0)})
    assert own.macros(Event("meal", 0.0, text="Rice 100 g\nXyzzy 100 g")) == pytest.approx((10, 50, 0, 0))


def test_a_folder_without_diaries_is_refused(tmp_path):
    with pytest.raises(ReaderError, match="NNNN_N_YYYYMMDD"):
        next(shanghai_diaries(tmp_path))


@pytest.mark.real
def test_published_diaries(real_data):
    diaries = list(shanghai_diaries(real_data / "shanghai_diabetes"))
    assert len(diaries) == 98
    english = [meal for one in diaries for meal in one.english if meal.text]
    assert len(english) == 2682
    read = {name: [DIET.macros(m) for one in diaries for m in getattr(one, name)] for name in ("english", "chinese")}
    both = np.array([(e[:3], c[:3]) for e, c in zip(*read.values(), strict=True) if e and c])
    assert len(both) / len(english) > 0.9
    for place in range(3):
        assert np.corrcoef(both[:, 0, place], both[:, 1, place])[0, 1] > 0.8
