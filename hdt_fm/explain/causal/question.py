"""A causal question as a config states it: the treatment, the outcome, what is held fixed, and what nobody measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from hdt_fm.schema.errors import ConfigError, unknown_name

# Of the column that the treatment is taken from: 0 and 1, a number, or whether it lies above the person's own median.
Form = Literal["binary", "continuous", "above_own_median"]
# What the window before brought: the treatment of this window cannot have changed it.
PREVIOUS_OUTCOME = "previous_outcome"


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of the body, and on which assumptions.

    Attributes:
        treatment, outcome: Names of columns.
        adjusted: Columns that are held fixed.
        unmeasured: What may move both and is in no column. It must be said, and empty is a claim that there is nothing.
        mediators: Columns through which the treatment acts; never held fixed.
        others: Further measured nodes of the graph, not held fixed.
        edges: Arrows of the assumed graph, (cause, effect); empty draws the usual ones.
        within_people: Whether a person is compared with themself alone, so that nothing constant in a person counts.
        negative_control: A column that the treatment cannot change, or `previous_outcome`.
        unit: Of the outcome.
        words: What the reader is told in place of a column's name.
    """

    treatment: str
    outcome: str
    adjusted: tuple[str, ...]
    unmeasured: tuple[str, ...]
    form: Form
    mediators: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    edges: tuple[tuple[str, str], ...] = ()
    within_people: bool = True
    negative_control: str | None = None
    unit: str = ""
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def binary(self) -> bool:
        return self.form != "continuous"

    def said(self, name: str) -> str:
        """A column or node in words."""
        return self.words.get(name, name.replace("_", " "))


def question_from(config: Mapping[str, Any]) -> Question:
    """A question from plain config; arrows are written "a -> b".

    Raises:
        ConfigError: If a key is unknown or missing, a value is of the wrong kind, or an arrow cannot be read.
    """
    known = {one.name: one for one in fields(Question)}
    for name in config:
        if name not in known:
            raise unknown_name("key of a causal question", str(name), known, where="causal")
    missing = [name for name in ("treatment", "outcome", "adjusted", "unmeasured", "form") if name not in config]
    if missing:
        raise ConfigError(
            f"A causal question lacks {', '.join(missing)}",
            where="causal",
            expected="treatment, outcome, form, adjusted and unmeasured",
            fix="unmeasured: [] claims that nothing unseen moves both; say so only if you mean it",
        )
    plain = dict(config)
    for name in ("adjusted", "unmeasured", "mediators", "others"):
        if name in plain:
            plain[name] = _names(name, plain[name])
    if "edges" in plain:
        plain["edges"] = tuple(_arrow(one) for one in _names("edges", plain["edges"]))
    if plain["form"] not in get_args(Form):
        raise unknown_name("form of a treatment", str(plain["form"]), get_args(Form), where="causal.form")
    return Question(**plain)


def _names(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(one, str) for one in value):
        raise ConfigError(
            f"{key} is no list of names", where=f"causal.{key}", expected="a list such as [movement, hour]"
        )
    return tuple(value)


def _arrow(text: str) -> tuple[str, str]:
    ends = [end.strip() for end in text.split("->")]
    if len(ends) != 2 or not all(ends):
        raise ConfigError("An arrow cannot be read", where="causal.edges", expected='"cause -> effect"', got=repr(text))
    return ends[0], ends[1]
