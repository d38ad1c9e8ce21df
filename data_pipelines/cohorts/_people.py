"""Coarse facts about people, in one wording for every cohort."""


def age_band(years: int) -> str:
    """Ten years, such as `30-39`; everyone from 90 on is one band."""
    decade = years // 10 * 10
    return "90+" if decade >= 90 else f"{decade}-{decade + 9}"
