"""Questions from plain config, and what is refused."""

import pytest

from hdt_fm.explain.causal.question import Question, question_from
from hdt_fm.schema.errors import ConfigError, UnknownNameError

PLAIN = {"treatment": "meal", "outcome": "glucose", "form": "binary", "adjusted": ["hour"], "unmeasured": []}


def test_plain_config_becomes_a_question() -> None:
    made = question_from({**PLAIN, "others": ["sport"], "edges": ["hour -> meal", "meal->glucose", "sport -> glucose"]})
    assert made == Question(
        treatment="meal",
        outcome="glucose",
        form="binary",
        adjusted=("hour",),
        unmeasured=(),
        others=("sport",),
        edges=(("hour", "meal"), ("meal", "glucose"), ("sport", "glucose")),
    )
    assert made.within_people
    assert made.said("heart_rate") == "heart rate"


@pytest.mark.parametrize("name", ["treatment", "outcome", "form", "adjusted", "unmeasured"])
def test_what_must_be_said_is_asked_for(name: str) -> None:
    with pytest.raises(ConfigError, match=f"lacks {name}"):
        question_from({key: value for key, value in PLAIN.items() if key != name})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"adjust": []}, "did you mean 'adjusted'"),
        ({"form": "median"}, "one of: above_own_median, binary, continuous"),
        ({"adjusted": "hour"}, "no list of names"),
        ({"edges": ["hour meal"]}, "An arrow cannot be read"),
        ({"edges": ["hour -> meal -> glucose"]}, "An arrow cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused(more: dict[str, object], words: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=words):
        question_from({**PLAIN, **more})
