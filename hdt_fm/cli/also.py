"""The further protocols of `hdt-fm evaluate`, by the names that `protocol.also` takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hdt_fm.cli.progress import Report
from hdt_fm.cli.settings import ProtocolSettings
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.contest import Contest
from hdt_fm.evaluation.few_shot import few_shot
from hdt_fm.evaluation.missing_modalities import missing_modalities
from hdt_fm.evaluation.own_baseline import own_baseline
from hdt_fm.evaluation.personalisation import personalisation
from hdt_fm.evaluation.subgroups import subgroups
from hdt_fm.evaluation.tuned import REHEARSED, Tuned
from hdt_fm.evaluation.zero_shot import zero_shot
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError, SplitError
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.result import Result


@dataclass(frozen=True)
class Beside:
    """What single protocols need besides the contest.

    Attributes:
        covariates: One mapping a subject, in the order of the manifest.
        shared_spaces: Further projections as baselines of zero-shot, one table a fold.
        tuned: Ways of moving an encoder towards one person.
        rehearsed: Training people a fold on whom it is chosen how far those move.
    """

    covariates: Sequence[Mapping[str, str]]
    shared_spaces: Mapping[str, Sequence[EmbeddingTable]] = field(default_factory=dict)
    tuned: Sequence[Tuned] = ()
    rehearsed: int = REHEARSED


PROTOCOLS: Mapping[str, Callable[[Contest, Beside], Result]] = {
    "missing_modalities": lambda contest, beside: missing_modalities(contest),
    "own_baseline": lambda contest, beside: own_baseline(contest),
    "few_shot": lambda contest, beside: few_shot(contest),
    "zero_shot": lambda contest, beside: zero_shot(contest, extra_tables=beside.shared_spaces),
    "personalisation": lambda contest, beside: personalisation(contest, tuned=beside.tuned, rehearsed=beside.rehearsed),
    "subgroups": lambda contest, beside: subgroups(contest, beside.covariates),
}


def further(
    names: Sequence[str], entered: Contest, beside: Beside, *, progress: Report, say: Callable[[str], None]
) -> list[Result]:
    """Each protocol in turn. One that these people cannot give is told of and left out: hours lie behind the others.

    Raises:
        LeakError: If a protocol would see test people; then there is no table at all.
    """
    results = []
    for number, name in enumerate(names):
        progress(number, len(names), name)
        try:
            results.append(PROTOCOLS[name](entered, beside))
        except (ConfigError, SplitError) as error:
            say(f"protocol.also={name} is left out, the tables of the others are written\n{error}")
    return results


def check_also(protocol: ProtocolSettings, folder: ShardFolder, *, with_static: bool = False) -> None:
    """Refuse before hours of pretraining what the shards cannot give.

    Args:
        with_static: Whether facts about people may be among the modalities.

    Raises:
        ConfigError: If a protocol that was asked for cannot run on this label, these modalities or this cohort.
    """
    alone, there = protocol.alone, (*folder.modalities, *([STATIC] if with_static else []))
    if alone is not None and (not alone or len(set(alone)) < len(alone) or not set(alone) <= set(there)):
        raise ConfigError(
            "protocol.only does not fit the shards",
            where="protocol.only",
            expected=f"one or more, each once, of: {', '.join(there)}",
            got=str(list(alone)),
            fix="name modalities of the shards, or null for all",
        )
    modalities = len(alone or folder.modalities)
    signals = len([name for name in alone or folder.modalities if name != STATIC])
    classes = next((len(one.classes) for one in folder.header.labels if one.name == protocol.label), 0)
    two = protocol.kind == "classification" and classes in (0, 2)
    covariates = {name for row in folder.manifest.subjects for name in row.covariates}
    needs = {
        "missing_modalities": (modalities > 1, "at least 2 modalities; protocol.only takes away all others"),
        "zero_shot": (signals > 1, "at least 2 modalities of signals; protocol.only takes away all others"),
        "personalisation": (two, "a class label with 2 classes"),
        "subgroups": (bool(covariates), "covariates of the people in the shards' manifest"),
    }
    if protocol.fine_tune and "personalisation" not in protocol.also:
        raise ConfigError(
            "protocol.fine_tune is a part of personalisation, which was not asked for",
            where="protocol.fine_tune",
            expected="protocol.also=[personalisation] beside it",
            got=f"also: [{', '.join(protocol.also)}]",
            fix="add personalisation to protocol.also, or protocol.fine_tune=false",
        )
    for name in protocol.also:
        met, wanted = needs.get(name, (True, ""))
        if not met:
            raise ConfigError(
                f"{name!r} cannot run on these shards",
                where="protocol.also",
                expected=wanted,
                fix=f"leave {name!r} out of protocol.also",
            )
