"""Several losses at once, with weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from hdt_fm.schema import registry
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.schema.protocols import Encoded, LossReport, ReadsOthers, Scaled, Shaped, Spreads
from hdt_fm.schema.shard import ModalityColumn

# Keys of a term that are not arguments of its loss.
OF_THE_TERM = ("name", "weight")
ITSELF = "mix"


class Mix(nn.Module):
    """The weighted sum of other losses.

    Args:
        terms: By the word that its numbers are logged under: the arguments of a registered loss, its `weight` (above
            0; 1 when not given), and its `name` where the word is not the loss's name.

    Raises:
        ConfigError: If there is no term, a weight is not above 0, or a term is a mix itself.
        UnknownNameError: If a term's loss is not registered.
    """

    def __init__(self, *, terms: Mapping[str, Any]) -> None:
        super().__init__()
        if not terms:
            raise ConfigError(
                "A mix needs a term",
                where="losses/mix",
                expected="terms: {<loss>: {weight: 1.0, ...}, ...}",
                fix="give one, or name the loss itself",
            )
        built = {}
        self.weights: dict[str, float] = {}
        for word, settings in terms.items():
            where = f"loss.terms.{word}"
            self.weights[word] = _weight(settings, where)
            built[word] = _build(word, settings, where)
        self.terms = nn.ModuleDict(built)

    @property
    def reads_others(self) -> bool:
        """Whether a term asks what the others of a window say together."""
        return any(isinstance(term, ReadsOthers) and term.reads_others for term in self.terms.values())

    @property
    def spreads(self) -> bool:
        """Whether every term can be given one process's rows."""
        return all(isinstance(term, Spreads) and term.spreads for term in self.terms.values())

    def shape(self, columns: Sequence[ModalityColumn], width: int, seed: int) -> None:
        """Shape the terms that ask for it."""
        for term in self.terms.values():
            if isinstance(term, Shaped):
                term.shape(columns, width, seed)

    def learn_scale(self, batch: Batch) -> None:
        """Show typical windows to the terms that ask for them."""
        for term in self.terms.values():
            if isinstance(term, Scaled):
                term.learn_scale(batch)

    def forward(self, encoded: Encoded) -> LossReport:
        """The weighted sum; `parts` are each term's unweighted value and, under its word, its own parts and counts."""
        parts, counts, values = {}, {}, []
        for word, term in self.terms.items():
            report = term(encoded)
            values.append(self.weights[word] * report.value)
            parts[word] = report.value.detach()
            # Exactly 0 is a batch in which nothing of the term counts; it must not draw the term's mean to zero.
            counts[word] = (report.value.detach() != 0).long() * len(encoded.seen)
            parts |= {f"{word}/{name}": value for name, value in report.parts.items()}
            counts |= {f"{word}/{name}": value for name, value in report.counts.items()}
        return LossReport(value=torch.stack(values).sum(), parts=parts, counts=counts)


def _weight(settings: Any, where: str) -> float:
    if not isinstance(settings, Mapping):
        raise ConfigError(
            "A term of a mix must be a mapping", where=where, expected="{weight: 1.0, ...}", got=type(settings).__name__
        )
    weight = settings.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
        raise ConfigError(
            "The weight of a term cannot be used",
            where=f"{where}.weight",
            expected="a number above 0",
            got=str(weight),
            fix="leave the term out to do without it",
        )
    return float(weight)


def _build(word: str, settings: Mapping[str, Any], where: str) -> nn.Module:
    name = str(settings.get("name", word))
    known = [known for known in registry.names("losses") if known != ITSELF]
    if name == ITSELF:
        raise ConfigError(
            "A mix cannot hold a mix", where=where, expected=f"one of: {', '.join(known)}", fix="list its terms here"
        )
    if name not in known:
        raise unknown_name("loss", name, known, where=where)
    if "/" in word or "." in word or not word:
        raise ConfigError(
            "The word of a term cannot be used", where=where, expected="letters, digits and _", got=repr(word)
        )
    return registry.build("losses", name, {key: value for key, value in settings.items() if key not in OF_THE_TERM})
