"""The promise: by whose numbers, and what cannot be promised."""

import builtins
import math
import sys

import pytest

from hdt_fm.schema.errors import ConfigError
from hdt_fm.training.private_account import budget_of

ASKED = {"people": 200, "people_per_step": 8, "steps": 300}


def test_epsilon_is_that_of_opacus_step_by_step() -> None:
    from opacus.accountants import PRVAccountant, RDPAccountant

    budget = budget_of(**ASKED, epsilon=None, delta=1e-4, noise=1.1)
    assert (budget.rate, budget.accountant) == (0.04, "prv")
    for account, at_least in ((PRVAccountant(), 1.0), (RDPAccountant(), 0.7)):
        for _ in range(300):
            account.step(noise_multiplier=1.1, sample_rate=0.04)
        theirs = account.get_epsilon(1e-4)
        assert at_least * theirs <= budget.epsilon() <= theirs + 1e-9


def test_without_sampling_it_is_the_gaussian_mechanism_in_closed_form() -> None:
    """Balle and Wang 2018, theorem 8: delta of a Gaussian of T / sigma^2 in all."""
    budget = budget_of(people=4, people_per_step=4, steps=10, epsilon=None, delta=1e-2, noise=3.0)
    epsilon, mu = budget.epsilon(), math.sqrt(10) / 3.0

    def upper(z: float) -> float:
        return 0.5 * math.erfc(z / math.sqrt(2))

    delta = upper(epsilon / mu - mu / 2) - math.exp(epsilon) * upper(epsilon / mu + mu / 2)
    # An upper bound that is off by the grid's error at most.
    assert 0.9e-2 < delta <= 1e-2


@pytest.mark.parametrize("epsilon", [0.5, 3.0, 8.0])
def test_the_noise_keeps_the_promise_and_not_much_more(epsilon: float) -> None:
    budget = budget_of(**ASKED, epsilon=epsilon, delta=None, noise=None)
    assert budget.delta == pytest.approx(200**-1.1)
    assert epsilon - 0.02 < budget.epsilon() <= epsilon
    assert 0 < budget.epsilon(150) < budget.epsilon()
    assert budget.epsilon(0) == 0.0


def test_no_noise_promises_nothing() -> None:
    assert budget_of(**ASKED, epsilon=None, delta=None, noise=0.0).epsilon() == math.inf


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"epsilon": 8.0, "noise": 1.0}, "training.private"),
        ({"epsilon": None, "noise": None}, "training.private"),
        ({"people_per_step": 201}, "people_per_step"),
        ({"people_per_step": 0}, "people_per_step"),
        ({"delta": 0.2}, "delta"),
        ({"epsilon": 1e-7}, "epsilon"),
    ],
)
def test_what_cannot_be_promised_is_refused_with_a_way_out(changes: dict, where: str) -> None:
    asked = {**ASKED, "epsilon": 8.0, "delta": None, "noise": None, **changes}
    with pytest.raises(ConfigError) as caught:
        budget_of(**asked)
    assert where in str(caught.value.where)
    assert caught.value.fix


def test_without_opacus_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: object, **more: object) -> object:
        if name.split(".")[0] == "opacus":
            raise ModuleNotFoundError("gone", name="opacus")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    for name in [name for name in sys.modules if name.split(".")[0] == "opacus"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"hdt-fm\[private\]"):
        budget_of(**ASKED, epsilon=8.0, delta=None, noise=None)
