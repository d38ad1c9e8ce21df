"""What modalities share, in closed form: linear multiview CCA as directions in each modality's features.

Each modality's features are whitened (with a ridge); the directions are the leading eigenvectors of the
correlations *between* modalities, so that any number of modalities shares one space (Kettenring 1971, SUMCOR
relaxed to one constraint; with two modalities it is canonical correlation analysis).
"""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hdt_fm.schema.errors import ConfigError

RANK_FLOOR = 1e-6


def shared_directions(
    views: Sequence[Float[Tensor, "row _"]], present: Bool[Tensor, "row view"], *, dim: int, ridge: float
) -> list[Float[Tensor, "_ {dim}"]]:
    """Directions (feature, dim) of each view; `view @ directions` lie near each other where rows belong together.

    Args:
        views: Centered features on one scale; a row is read only where `present` says that the view has it.
        dim: Directions, the most shared first; zeros past what the views can give.
        ridge: Added to the variance along each principal direction.

    Numerics: float64 throughout.

    Raises:
        ConfigError: If no two views are present together.
    """
    scales = [_whitening(view[here].double(), ridge) for view, here in zip(views, present.T, strict=True)]
    edges = list(itertools.accumulate((scale.shape[1] for scale in scales), initial=0))
    between = torch.zeros(edges[-1], edges[-1], dtype=torch.float64)
    for i, j in itertools.combinations(range(len(views)), 2):
        both = present[:, i] & present[:, j]
        if both.any():
            first, second = (views[k][both].double() @ scales[k] for k in (i, j))
            block = first.T @ second / len(first)
            between[edges[i] : edges[i + 1], edges[j] : edges[j + 1]] = block
            between[edges[j] : edges[j + 1], edges[i] : edges[i + 1]] = block.T
    if not bool(between.any()):
        raise ConfigError(
            "No two modalities are present together",
            where="multiview CCA",
            expected="training windows that hold two modalities or more",
            fix="shard recordings of several modalities, or train on one: training.start=random loss=masked_patches",
        )
    values, vectors = torch.linalg.eigh(between)
    weight = values.flip(0)[:dim].clamp(min=0).sqrt()
    found = []
    for scale, (start, stop) in zip(scales, itertools.pairwise(edges), strict=True):
        some = scale @ (vectors.flip(1)[start:stop, :dim] * weight)
        found.append(torch.cat((some, some.new_zeros(len(some), dim - some.shape[1])), dim=1))
    return found


def own_directions(
    view: Float[Tensor, "row feature"], shared: Float[Tensor, "feature dim"], *, count: int, ridge: float
) -> Float[Tensor, "feature {count}"]:
    """Directions of what `shared` leaves unexplained of a view, the strongest first; zeros past its rank.

    Args:
        view: As in `shared_directions`, rows of this view alone.
    """
    rows = view.double()
    explained = torch.linalg.pinv(rows @ shared) @ rows
    residual = rows - rows @ shared @ explained
    some = _whitening(residual, ridge).flip(1)[:, :count]
    # What is left of a row is row @ (1 - shared explained); one product, so that the answer is linear in the row.
    some = some - shared @ (explained @ some)
    return torch.cat((some, some.new_zeros(len(some), count - some.shape[1])), dim=1)


def _whitening(rows: Float[Tensor, "row feature"], ridge: float) -> Float[Tensor, "feature kept"]:
    """Principal directions over sqrt(variance + ridge), the weakest first; those without variance are left out."""
    if not len(rows):
        return rows.new_zeros(rows.shape[1], 0)
    variance, axes = torch.linalg.eigh(rows.T @ rows / len(rows))
    kept = variance > RANK_FLOOR * max(float(variance.max()) if len(variance) else 0.0, RANK_FLOOR)
    return axes[:, kept] / torch.sqrt(variance[kept] + ridge)
