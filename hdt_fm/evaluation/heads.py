"""The short table of a head that was trained once: held-out people, the uninformed guess beside."""

import numpy as np
from jaxtyping import Float

from hdt_fm.evaluation.audit import Pretraining, audit
from hdt_fm.evaluation.baselines import DUMMY
from hdt_fm.evaluation.classification import class_metrics
from hdt_fm.evaluation.contenders import Contender, directions, rows_of
from hdt_fm.evaluation.folds import Fold
from hdt_fm.evaluation.people import people_draws
from hdt_fm.evaluation.record import protocol_record
from hdt_fm.evaluation.regression import value_metrics
from hdt_fm.evaluation.targets import class_target, label_target
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.result import Result

PROBE = "encoder + probe head"


def probe_table(
    table: EmbeddingTable,
    label: str,
    output: Float[np.ndarray, "row output"],
    fold: Fold,
    *,
    pretraining: Pretraining | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Result:
    """Scores of a trained head on the fold's test people. The full set of baselines is `classification`'s.

    Args:
        output: The head's answer for every window of the table: logits of classes, or one value.

    Raises:
        LeakError: If the audit finds a leak.
        ConfigError: If the label is unknown or no test window knows it.
    """
    checks = audit(table, [fold], pretraining=pretraining)
    is_class = output.shape[1] > 1
    target = (class_target if is_class else label_target)(table, label, [fold])
    rows = np.flatnonzero(target.scored)
    _, person = np.unique(table.group[rows], return_inverse=True)
    known = target.values[fold.train]
    guess = np.zeros_like(output) if is_class else np.full_like(output, np.nanmean(known))
    truth = target.values[rows]
    metrics = class_metrics(truth, person) if is_class else value_metrics(truth, person, unit=target.unit)
    contenders = [
        Contender(PROBE, "ours", output[rows].astype(np.float64)),
        Contender(DUMMY, "baseline", guess[rows].astype(np.float64)),
    ]
    counts = people_draws(int(person.max()) + 1, draws=draws, seed=seed)
    record = protocol_record(table, target, [fold], checks=checks, draws=draws, seed=seed)
    record |= {"task": "probe head", "headline": PROBE, "better": directions(metrics)}
    found = rows_of(label, contenders, metrics, counts=counts, headline=PROBE)
    return Result(name=f"probe head for {label}", protocol=record, rows=tuple(found), required_baselines=(DUMMY,))
