"""Coarse facts about people, in one wording for every cohort."""

import re


def age_band(years: int) -> str:
    """Ten years, such as `30-39`; everyone from 90 on is one band."""
    decade = years // 10 * 10
    return "90+" if decade >= 90 else f"{decade}-{decade + 9}"


def covariates(*, sex: str, age: str) -> dict[str, str]:
    """`sex` (F, M) and `age_band` from a file's words (`female`, ` m`, `34`), each where they say it."""
    found = {}
    if word := re.fullmatch(r"\s*(f|female|m|male)\s*", sex.lower()):
        found["sex"] = word[1][0].upper()
    if years := re.fullmatch(r"\s*(\d{1,3})(\.0*)?\s*", age):
        found["age_band"] = age_band(int(years[1]))
    return found
