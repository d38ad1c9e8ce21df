"""Skill: a map of a model that predicts nothing looks like any other map."""

import numpy as np

from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam


def check(exam: Exam) -> Check:
    """Judge what was measured on people whom the head was not trained on."""
    skill = exam.skill
    rule = "pass when the lower end of the 95 % interval over people is above chance; warn when not measured"
    if skill is None:
        meaning = "It was not shown that this output predicts anything."
        return Check("skill", "warn", float("nan"), rule, meaning)
    if not np.isfinite(skill.low):
        meaning = f"Measured on too few people to say: {skill.metric} over {skill.people}."
        return Check("skill", "warn", skill.value, rule, meaning)
    above = skill.low > skill.chance
    lead = "Predicts better than chance" if above else "Does not predict better than chance"
    meaning = f"{lead}: {skill.metric} {skill.value:.3f}, at least {skill.low:.3f} over {skill.people} people."
    detail = {"value": skill.value, "low": skill.low, "chance": skill.chance, "people": float(skill.people)}
    return Check("skill", "pass" if above else "fail", skill.value, rule, meaning, detail)
