"""What one person's truths teach the last layer of a frozen forecast: a ridge in closed form, added to as they come."""

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.schema.series import DAY_S

# Pull towards no correction, in rows of standardised features: about how many truths weigh as much as it does.
STRENGTH = 10.0


class OwnLayer:
    """Corrections of a head's answers, linear in its last hidden features.

    It holds sums over truths that have come, and no reading and no time: what came can be added once and forgotten.

    Args:
        width: Features of a row.
        horizons: Answers of a row.
        strength: Pull towards no correction.
    """

    def __init__(self, *, width: int, horizons: int, strength: float = STRENGTH) -> None:
        self.strength = strength
        self.squares = np.zeros((horizons, width + 1, width + 1))
        self.products = np.zeros((horizons, width + 1))
        self.seen = np.zeros(horizons, dtype=np.int64)

    def learn(self, features: Float[np.ndarray, "row width"], missed: Float[np.ndarray, "row horizon"]) -> None:
        """Add rows whose truths have come: what came, less what was said before any correction; NaN is left out."""
        given = _with_level(features)
        for column, errors in enumerate(missed.T):
            known = np.isfinite(errors)
            self.squares[column] += given[known].T @ given[known]
            self.products[column] += given[known].T @ errors[known]
            self.seen[column] += int(known.sum())

    def correction(self, features: Float[np.ndarray, "row width"]) -> Float[np.ndarray, "row horizon"]:
        """What to add to each answer; 0 for someone of whom nothing has come yet."""
        given, pull = _with_level(features), self.strength * np.eye(self.squares.shape[1])
        weights = np.linalg.solve(self.squares + pull, self.products[..., None])[..., 0]
        return given @ weights.T


def followed(
    time_s: Float[np.ndarray, " row"],
    features: Float[np.ndarray, "row width"],
    missed: Float[np.ndarray, "row horizon"],
    horizons_s: tuple[float, ...],
    *,
    strength: float = STRENGTH,
    from_s: float = 0.0,
    until_s: float = np.inf,
) -> Float[np.ndarray, "row horizon"]:
    """Corrections of one person's rows, each by the truths that had come when its day began.

    Args:
        time_s: Rising.
        missed: Truth less answer; NaN where no truth came.
        from_s, until_s: Since the first row: no correction is made before `from_s`, nothing is learned of rows
            after `until_s`.
    """
    layer = OwnLayer(width=features.shape[1], horizons=missed.shape[1], strength=strength)
    out, told = np.zeros_like(missed), np.zeros(missed.shape[1], dtype=np.int64)
    since = time_s - time_s[0] if len(time_s) else time_s
    day = (since // DAY_S).astype(np.int64)
    for today in np.unique(day):
        rows = np.flatnonzero(day == today)
        now = time_s[0] + today * DAY_S
        for column, horizon in enumerate(horizons_s):
            come = int(np.searchsorted(time_s + horizon, now, side="right"))
            new = np.arange(told[column], come)
            new, told[column] = new[since[new] <= until_s], come
            only = np.full((len(new), missed.shape[1]), np.nan)
            only[:, column] = missed[new, column]
            layer.learn(features[new], only)
        if since[rows[0]] >= from_s:
            out[rows] = layer.correction(features[rows])
    return out


def followed_people(
    subject: Int[np.ndarray, " row"],
    time_s: Float[np.ndarray, " row"],
    features: Float[np.ndarray, "row width"],
    missed: Float[np.ndarray, "row horizon"],
    horizons_s: tuple[float, ...],
    **when: float,
) -> Float[np.ndarray, "row horizon"]:
    """`followed` of each person by themselves; rows in any order, `when` are its settings."""
    out = np.zeros_like(missed)
    for one in np.unique(subject):
        own = np.flatnonzero(subject == one)
        own = own[np.argsort(time_s[own], kind="stable")]
        out[own] = followed(time_s[own], features[own], missed[own], horizons_s, **when)
    return out


def _with_level(features: Float[np.ndarray, "row width"]) -> Float[np.ndarray, "row width_and_1"]:
    """Rows of about unit length, whatever their width, with a constant."""
    both = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    return both / np.sqrt(both.shape[1])
