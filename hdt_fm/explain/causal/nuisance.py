"""The two small models behind an estimate: who is treated, and what comes; both in closed form or nearly so.

Own ridge and logistic regression, equal to scikit-learn's (tested): a causal section fits some two thousand of them on
few rows, where scikit-learn's checks take ten times as long as the numbers.
"""

import numpy as np
from jaxtyping import Float

# As in scikit-learn's `Ridge(alpha=1)` and `LogisticRegression(C=1)`; columns have a spread of 1.
PENALTY = 1.0
_STEPS, _TOLERANCE = 50, 1e-8


def ridge(
    features: Float[np.ndarray, "row feature"], values: Float[np.ndarray, " row"], weight: Float[np.ndarray, " row"]
) -> Float[np.ndarray, " _"]:
    """Coefficients, the intercept last and unpenalised."""
    with_one = np.column_stack([features, np.ones(len(features))])
    weighted = with_one * weight[:, None]
    return np.linalg.solve(weighted.T @ with_one + _penalty(features.shape[1]), weighted.T @ values)


def logistic(
    features: Float[np.ndarray, "row feature"], treated: Float[np.ndarray, " row"], weight: Float[np.ndarray, " row"]
) -> Float[np.ndarray, " _"]:
    """Coefficients of the log-odds, the intercept last and unpenalised; Newton's steps, halved past the mark."""
    with_one = np.column_stack([features, np.ones(len(features))])
    penalty = _penalty(features.shape[1])
    share = float(np.average(treated, weights=weight))
    at = np.zeros(with_one.shape[1])
    at[-1] = np.log(share / (1 - share))
    loss = _loss(at, with_one, treated, weight, penalty)
    for _ in range(_STEPS):
        chance = expit(with_one @ at)
        slope = with_one.T @ (weight * (chance - treated)) + penalty @ at
        bend = (with_one * (weight * chance * (1 - chance))[:, None]).T @ with_one + penalty
        step = np.linalg.solve(bend + 1e-10 * np.eye(len(at)), slope)
        while (moved := _loss(at - step, with_one, treated, weight, penalty)) > loss + _TOLERANCE:
            step /= 2
        at, loss = at - step, moved
        if np.abs(step).max() < _TOLERANCE:
            break
    return at


def predicted(
    coefficients: Float[np.ndarray, " _"], features: Float[np.ndarray, "row feature"]
) -> Float[np.ndarray, " row"]:
    return features @ coefficients[:-1] + coefficients[-1]


def expit(values: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * values))


def _penalty(features: int) -> np.ndarray:
    return np.diag([PENALTY] * features + [0.0])


def _loss(at: np.ndarray, with_one: np.ndarray, treated: np.ndarray, weight: np.ndarray, penalty: np.ndarray) -> float:
    odds = with_one @ at
    return float(weight @ (np.logaddexp(0, odds) - treated * odds) + at @ penalty @ at / 2)
