"""simglucose beside our integrator, where it is installed: its people's numbers and its patient's equations alone.

Its package imports gym and asks setuptools for `pkg_resources`, which current versions of both no longer give. The
patient needs neither, so only the folders of the package and a stand-in for the look-up of one file are put in place.
"""

import csv
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

PACKAGE = "simglucose"


def folder() -> Path | None:
    """Where it is installed; None where it is not."""
    spec = importlib.util.find_spec(PACKAGE)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


@contextmanager
def _stand_ins(root: Path) -> Iterator[None]:
    """Packages without their own `__init__`, and `pkg_resources`; all as before afterwards."""
    before = dict(sys.modules)
    lookup = types.ModuleType("pkg_resources")
    lookup.resource_filename = lambda package, name: str(root.parent / package / name)  # type: ignore[attr-defined]
    sys.modules["pkg_resources"] = lookup
    for name, path in ((PACKAGE, root), (f"{PACKAGE}.patient", root / "patient")):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    try:
        yield
    finally:
        for name in ("pkg_resources", *[one for one in sys.modules if one.split(".")[0] == PACKAGE]):
            sys.modules.pop(name, None)
            if name in before:
                sys.modules[name] = before[name]


def patient_module(root: Path) -> ModuleType:
    """`simglucose.patient.t1dpatient`, without the rest of it."""
    with _stand_ins(root):
        return importlib.import_module(f"{PACKAGE}.patient.t1dpatient")


def numbers(root: Path) -> list[dict[str, str]]:
    """Its thirty people, a row each, as the user's installed package has them."""
    with open(root / "params" / "vpatient_params.csv", newline="") as file:
        return list(csv.DictReader(file))


def glucose(
    module: ModuleType,
    row: Mapping[str, Any],
    start: np.ndarray,
    meals_g: np.ndarray,
    bolus_units: np.ndarray,
    *,
    shipped: bool = False,
) -> np.ndarray:
    """Glucose under the skin (minute + 1,), before each minute, of one of its people in its own loop.

    Args:
        module: From `patient_module`.
        row: From `numbers`.
        start: Its thirteen states.
        meals_g, bolus_units: (minute,); basal insulin is its own.
        shipped: As it comes: numbers in a pandas row, tolerance 1e-6. Otherwise plain numbers, which give the same and
            are twelve times as fast, and a relative tolerance of 1e-9.
    """
    given = {name: float(value) if name != "Name" else value for name, value in row.items()}
    if shipped:
        import pandas

        patient = module.T1DPatient(pandas.Series(given), init_state=start)
    else:
        patient = module.T1DPatient(types.SimpleNamespace(**given), init_state=start)
        patient._odesolver.set_integrator("dopri5", rtol=1e-9, atol=1e-9, nsteps=10_000)
        patient._odesolver.set_initial_value(start, 0)
    basal = given["u2ss"] * given["BW"] / 6000.0
    seen = []
    for carbs, units in zip(meals_g, bolus_units, strict=True):
        seen.append(patient.observation.Gsub)
        patient.step(module.Action(CHO=float(carbs), insulin=basal + float(units)))
    return np.array([*seen, patient.observation.Gsub])
