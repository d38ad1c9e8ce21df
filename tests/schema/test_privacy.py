"""What counts as a private trace, and what looks like one and is not."""

import pytest

from hdt_fm.schema.privacy import private_traces
from hdt_fm.schema.subject import SubjectKey


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("from /srv/cohort/x.csv", "an absolute path"),
        ('{"root": "/mnt/a/"}', "an absolute path"),
        ("path:/mnt/a/b", "an absolute path"),
        ("file:///mnt", "an absolute path"),
        ("see ~/data", "an absolute path"),
        (r"C:\Users\x", "an absolute path"),
        (r'"C:\\Users"', "an absolute path"),
        ("ask a.b+c@some-where.example.org.", "an e-mail address"),
        (f"row {SubjectKey.public().pseudonym('study', '1')},", "a pseudonym of a person"),
    ],
)
def test_traces_are_found_by_kind(text: str, kind: str) -> None:
    assert private_traces(text) == (kind,)


@pytest.mark.parametrize(
    "text",
    [
        "breaths/min, ECG/PPG/RESP and a/b/c",
        "https://example.org/licenses/by/4.0/",
        "../shared/data/x and ./a/b and **/x/*.py",
        "<b>x</b></p> 14px/1.5 sans",
        "R@1, recall@5.5, torch@2.13.0",
        "ab" * 32 + " s" + "ab" * 32,
        "1 / 2 / 3",
    ],
)
def test_what_is_not_a_trace(text: str) -> None:
    assert private_traces(text, dates=True) == ()


def test_dates_and_forbidden_words_only_when_asked() -> None:
    assert private_traces("on 1980-02-29 with P07") == ()
    assert private_traces("on 1980-02-29", dates=True) == ("a calendar date",)
    assert private_traces("version 2026-13-40", dates=True) == ()
    assert private_traces("with P07.", forbidden=["P07", ""]) == ("a name from the forbidden list",)
    assert private_traces("with XP07", forbidden=["P07"]) == ()
