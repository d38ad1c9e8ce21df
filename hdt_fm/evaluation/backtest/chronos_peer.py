"""Chronos as others pretrained it, on series of all kinds: what is forecast by who has seen none of our people.

Its weights are a folder that the user brings; nothing is downloaded. Needs the extra `chronos`.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hdt_fm.evaluation.backtest.floors import LEVELS, Fit, Forecasts, Rows
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.series import DAY_S, Series
from hdt_fm.signal.moments import MAX_AGE_S, Moments

WEIGHTS, CONFIG = "model.safetensors", "config.json"
# Those that say quantiles. The first Chronos draws samples, so that its answers would need a seed.
KINDS = ("ChronosBoltPipeline", "Chronos2Pipeline")
# What would lead past the weights that are read here: weights of another name, weights of an adapter, code.
ELSEWHERE = ("transformers_weights", "auto_map")
ADAPTER = "adapter_config.json"
# A head's own week; at 5 minutes it is as much as Bolt reads.
CONTEXT_S = 7.0 * DAY_S


def chronos(folder: Path, levels: Sequence[float] = LEVELS, *, context_s: float = CONTEXT_S, batch: int = 128) -> Fit:
    """Chronos-Bolt or Chronos-2 asked at each origin, zero-shot: it learns from nobody, on the CPU in float32.

    It reads what was measured up to the origin, unknown where nothing was, and no line in between. The point is its
    median. Each answer is of one series alone: others of a batch tell it nothing.

    Args:
        folder: `config.json` and `model.safetensors` of a release.
        levels: Of those that the model was trained for.
        context_s: How far back it reads; a model whose own limit is nearer reads less.
        batch: Origins that are asked at once.

    Raises:
        ConfigError: If Chronos is not installed, the folder does not hold such a model whole, or levels, context or
            batch do not fit.
    """
    if batch < 1 or context_s <= MAX_AGE_S:
        raise ConfigError(
            "Chronos cannot be asked so",
            expected=f"a batch of 1 or more, and more than {MAX_AGE_S:g} s of context, or no reading may be in it",
            got=f"batch {batch}, context {context_s:g} s",
        )
    pipeline = _loaded(folder)
    if not {0.5, *levels} <= set(pipeline.quantiles):
        raise ConfigError(
            "Chronos was not trained for these levels",
            expected=f".5 and others of {list(pipeline.quantiles)}",
            got=f"{list(levels)}",
        )

    def fit(moments: Moments, series: Sequence[Series], train: Rows, asked: Rows) -> Forecasts:
        steps = np.round(np.array(moments.horizons_s) / moments.step_s).astype(int)
        back = round(context_s / moments.step_s)
        out = np.empty((len(asked), len(steps), 1 + len(levels)))
        for start in range(0, len(asked), batch):
            rows = asked[start : start + batch]
            past = [
                torch.from_numpy(_past(series[number], place, back))
                for number, place in zip(moments.series[rows], moments.place[rows], strict=True)
            ]
            said, middle = pipeline.predict_quantiles(
                past, prediction_length=int(steps.max()), quantile_levels=list(levels)
            )
            out[start : start + batch, :, 0] = _at(middle, steps)
            out[start : start + batch, :, 1:] = _at(said, steps)
        out[..., 1:] = np.sort(out[..., 1:], axis=-1)
        return out

    return fit


def _past(one: Series, place: np.integer, back: int) -> Float32[np.ndarray, " time"]:
    """The last readings up to a place, from the first of them; NaN where nothing was read."""
    own = slice(max(0, int(place) + 1 - back), int(place) + 1)
    values = np.where(one.observed[own], one.values[own], np.float32(np.nan))
    return values[int(one.observed[own].argmax()) :]


def _at(said: Sequence[Tensor] | Tensor, steps: np.ndarray) -> Float[np.ndarray, "row horizon *level"]:
    """Answers at the asked steps. Bolt gives a row for each series, Chronos-2 a table of one channel."""
    rows = [one.numpy() if isinstance(said, Tensor) else one.numpy()[0] for one in said]
    return np.stack(rows)[:, steps - 1]


def _loaded(folder: Path) -> Any:
    """The pipeline of a folder, whole.

    Raises:
        ConfigError: If Chronos is not installed, or the folder does not hold such a model whole.
    """
    try:
        from chronos import BaseChronosPipeline
    except ImportError:
        raise ConfigError(
            "Chronos is not installed", expected="the extra chronos", fix="pip install 'hdt-fm[chronos]'"
        ) from None
    _check(folder)
    # The library asserts, raises and looks up in its own ways when a config or weights are not what they should be.
    broken = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, AssertionError, SafetensorError)
    try:
        # An absolute path is never the name of a model elsewhere.
        pipeline = BaseChronosPipeline.from_pretrained(
            str(folder.resolve()),
            torch_dtype="float32",
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        with safe_open(folder / WEIGHTS, framework="pt") as kept:
            names = set(kept.keys())
    except broken as error:
        raise ConfigError(
            "Weights of Chronos cannot be read",
            expected=f"{CONFIG} and {WEIGHTS} of one release",
            got=type(error).__name__,
            where=folder.name,
            fix="copy both from their maker again",
        ) from error
    absent = _absent(pipeline.model, names)
    if absent:
        # They would be drawn at random, and the peer would stand in the table as if it were Chronos.
        raise ConfigError(
            "Weights of Chronos are not whole",
            expected=f"every parameter of the model in {WEIGHTS}",
            got=f"none for {len(absent)} of them, {absent[0]!r} first",
            where=folder.name,
            fix="copy both files from their maker again",
        )
    return pipeline


def _check(folder: Path) -> None:
    """Refuse what is not a folder of a release, before a library looks at it."""
    there = {one.name for one in folder.iterdir()} if folder.is_dir() else set()
    if not {CONFIG, WEIGHTS} <= there or ADAPTER in there:
        other = sorted(one for one in there if one == ADAPTER or Path(one).suffix in (".bin", ".pt", ".ckpt"))
        raise ConfigError(
            "No weights of Chronos are there to be read",
            expected=f"a folder with {CONFIG} and {WEIGHTS}, and no adapter: pickled weights could run code",
            got=("no folder" if not there else "without both of them") + (f", but {', '.join(other)}" if other else ""),
            where=folder.name,
            fix="bring the folder of a Chronos-Bolt or Chronos-2 release with safetensors; nothing is downloaded",
        )
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        kind = config.get("chronos_pipeline_class")
        elsewhere = [one for one in ELSEWHERE if one in config]
    except (ValueError, AttributeError):
        kind, elsewhere = "no object in JSON", []
    if kind not in KINDS or elsewhere:
        raise ConfigError(
            "The model is not one that is asked here",
            expected=f"chronos_pipeline_class {' or '.join(KINDS)}, and neither {' nor '.join(ELSEWHERE)}",
            got=", ".join([str(kind), *elsewhere]),
            where=f"{folder.name}/{CONFIG}",
            fix="bring the folder of a Chronos-Bolt or Chronos-2 release as it was published",
        )


def _absent(model: torch.nn.Module, names: set[str]) -> list[str]:
    """Parameters that are kept under none of the names that they have in the model."""
    known = defaultdict(list)
    for name, one in model.named_parameters(remove_duplicate=False):
        known[one.data_ptr()].append(name)
    return [own[0] for own in known.values() if names.isdisjoint(own)]
