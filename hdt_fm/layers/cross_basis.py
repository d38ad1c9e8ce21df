"""Distributed lags that need not be linear: splines over the value times splines over how long ago (a cross-basis).

    feature[i, j] (t) = sum over lags l of value_i(x[t - l]) lag_j(l)

A linear model of these features is a surface over value and lag. Natural splines are straight beyond the outer knots;
B-splines are as `degree` says, and at the ends' value beyond.

Source: Gasparrini, Armstrong and Kenward 2010 (Statistics in Medicine 29:2224), section 4.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.schema.errors import ConfigError

Kind = Literal["natural", "b"]


def b_splines(
    x: Float[Tensor, "*rows"], inner: Sequence[float], ends: tuple[float, float], *, degree: int = 3
) -> Float[Tensor, "*rows basis"]:
    """All B-splines of a degree on knots (Cox and de Boor); they sum to 1. Beyond the ends as at them.

    Raises:
        ConfigError: If knots do not rise between the ends.
    """
    _check(inner, ends)
    knots = torch.tensor([ends[0]] * (degree + 1) + list(inner) + [ends[1]] * (degree + 1), dtype=torch.float64)
    at = x.double().clamp(*ends)[..., None]
    # The last interval holds its right end.
    basis = ((at >= knots[:-1]) & (at < knots[1:])).double()
    basis[..., len(knots) - degree - 2] += (at[..., 0] == ends[1]).double()
    for order in range(1, degree + 1):
        left, right = knots[order:-1] - knots[: -order - 1], knots[order + 1 :] - knots[1:-order]
        up = torch.where(left > 0, (at - knots[: -order - 1]) / torch.where(left > 0, left, 1.0), 0.0)
        down = torch.where(right > 0, (knots[order + 1 :] - at) / torch.where(right > 0, right, 1.0), 0.0)
        basis = up * basis[..., :-1] + down * basis[..., 1:]
    return basis


def natural_splines(
    x: Float[Tensor, "*rows"], inner: Sequence[float], ends: tuple[float, float]
) -> Float[Tensor, "*rows basis"]:
    """A basis of cubic splines that are straight beyond the ends: 1, x, and one for each inner knot.

    Raises:
        ConfigError: If knots do not rise between the ends.

    Source: Hastie, Tibshirani and Friedman 2009, eq. 5.4; on the scale of the ends, so that columns are of one size.
    """
    _check(inner, ends)
    scale = ends[1] - ends[0]
    knots = (torch.tensor([ends[0], *inner, ends[1]], dtype=torch.float64) - ends[0]) / scale
    at = (x.double() - ends[0]) / scale
    cubes = (at[..., None] - knots).clamp(min=0.0) ** 3
    slopes = (cubes[..., :-1] - cubes[..., -1:]) / (1.0 - knots[:-1])
    return torch.cat([torch.ones_like(at)[..., None], at[..., None], slopes[..., :-1] - slopes[..., -1:]], dim=-1)


class CrossBasis(nn.Module):
    """Features of an exposure's past on a regular grid, from today back to the longest lag.

    Args:
        ends: Of values, beyond which a natural spline is straight.
        value_knots: Inside of the ends.
        longest: Lag, in steps; 0 is today.
        lag_knots: Inside of 0 and the longest.
        kind: Of both splines; natural ones without inner knots are straight lines.
        lag_degree: Of a polynomial over lags in place of splines, which then have no knots. Its basis is that of
            B-splines on the ends, since powers of a lag are nearly alike.

    Raises:
        ConfigError: If knots do not rise between their ends, the longest lag is not above 0, or a polynomial of lags
            has knots or no degree.
    """

    lags: Tensor

    def __init__(
        self,
        *,
        ends: tuple[float, float],
        value_knots: Sequence[float],
        longest: int,
        lag_knots: Sequence[float],
        kind: Kind = "natural",
        lag_degree: int | None = None,
    ) -> None:
        super().__init__()
        polynomial = lag_degree is not None and lag_degree > 0 and not len(lag_knots)
        if longest < 1 or kind not in ("natural", "b") or (lag_degree is not None and not polynomial):
            expected = 'a longest lag of 1 or more; "natural" or "b"; a degree of lags above 0, or knots of lags'
            got = f"{longest}, {kind!r}, {lag_degree}, {len(lag_knots)} knots"
            raise ConfigError("The cross-basis cannot be built", expected=expected, got=got)
        self.ends, self.value_knots, self.kind = ends, tuple(value_knots), kind
        at, whole = torch.arange(longest + 1.0), (0.0, float(longest))
        self.register_buffer(
            "lags",
            self._splines(at, tuple(lag_knots), whole)
            if lag_degree is None
            else b_splines(at, (), whole, degree=lag_degree),
        )
        _check(self.value_knots, ends)

    @property
    def features(self) -> int:
        """How many; a constant value is no feature, since its sum over lags never changes."""
        return (len(self.value_knots) + (1 if self.kind == "natural" else 3)) * self.lags.shape[1]

    def forward(self, values: Float[Tensor, "*rows time"]) -> Float[Tensor, "*rows time feature"]:
        """NaN until the longest lag was seen, and where a value of any lag is not known."""
        basis = self._splines(values, self.value_knots, self.ends)[..., 1:]
        basis = torch.where(values.isfinite()[..., None], basis, torch.nan)
        longest = len(self.lags) - 1
        if values.shape[-1] <= longest:
            return basis.new_full((*values.shape, self.features), torch.nan)
        # (rows, time, value, lag), the newest first.
        past = basis.unfold(-2, longest + 1, 1).flip(-1)
        out = torch.einsum("...vl,lj->...vj", past, self.lags).flatten(-2)
        return torch.cat([out.new_full((*values.shape[:-1], longest, self.features), torch.nan), out], dim=-2)

    def _splines(self, x: Tensor, inner: tuple[float, ...], ends: tuple[float, float]) -> Tensor:
        return natural_splines(x, inner, ends) if self.kind == "natural" else b_splines(x, inner, ends)


def _check(inner: Sequence[float], ends: tuple[float, float]) -> None:
    places = [ends[0], *inner, ends[1]]
    if not all(left < right for left, right in pairwise(places)):
        raise ConfigError("Knots of a spline do not rise", expected="low end < inner knots < high end", got=str(places))
