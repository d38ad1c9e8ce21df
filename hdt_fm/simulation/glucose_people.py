"""Who eats and injects: the numbers of the type-1 model for a batch of people, and where each of them rests."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float64

from hdt_fm.schema.errors import ConfigError, ShapeError

PMOL_PER_UNIT = 6000.0
STATES = ("q1", "q2", "q3", "gp", "gt", "ip", "x", "i1", "id", "il", "s1", "s2", "gs")
# Of each field, the symbol under which papers and other simulators write it.
SYMBOLS = {
    "bw": "BW",
    "kabs": "kabs",
    "kmax": "kmax",
    "kmin": "kmin",
    "b": "b",
    "d": "d",
    "f": "f",
    "vg": "Vg",
    "k1": "k1",
    "k2": "k2",
    "kp1": "kp1",
    "kp2": "kp2",
    "kp3": "kp3",
    "ki": "ki",
    "fsnc": "Fsnc",
    "ke1": "ke1",
    "ke2": "ke2",
    "vm0": "Vm0",
    "vmx": "Vmx",
    "km0": "Km0",
    "p2u": "p2u",
    "ib": "Ib",
    "vi": "Vi",
    "m1": "m1",
    "m2": "m2",
    "m4": "m4",
    "m30": "m30",
    "ka1": "ka1",
    "ka2": "ka2",
    "kd": "kd",
    "ksc": "ksc",
    "u2ss": "u2ss",
}
# Above this much glucose in tissue (mg/kg) nobody rests: it would be over 10,000 mg/dL.
_MOST_MG_PER_KG = 1e5
_HALVINGS = 100


@dataclass(frozen=True, kw_only=True)
class GlucosePeople:
    """The model's numbers, one array entry per person, under the symbols of its papers.

    Args:
        bw: Body weight, kg.
        kabs, kmax, kmin: Absorption from the gut; fastest and slowest emptying of the stomach; 1/min.
        b, d: Share of a meal left in the stomach where emptying slows down, and where it speeds up again.
        f: Share of carbohydrate that reaches plasma.
        vg: Volume of glucose, dL/kg.
        k1, k2: Glucose from plasma to tissue and back, 1/min.
        kp1, kp2, kp3: Production of the liver at no glucose and no insulin, mg/kg/min; what a mg/kg of glucose (1/min)
            and a pmol/L of delayed insulin (mg/kg/min per pmol/L) take off it.
        ki: Delay of insulin's action on the liver, 1/min.
        fsnc: Use by brain and red cells, mg/kg/min.
        ke1, ke2: Renal clearance, 1/min, and the glucose from which on it runs, mg/kg.
        vm0, vmx, km0: Uptake by tissue at most, mg/kg/min; what a pmol/L of insulin adds; half saturation, mg/kg.
        p2u: Delay of insulin's action on uptake, 1/min.
        ib: Insulin in plasma at rest, pmol/L.
        vi: Volume of insulin, L/kg.
        m1, m2, m4, m30: Insulin from liver to plasma, plasma to liver, lost from plasma, lost in the liver; 1/min.
        ka1, ka2, kd: Insulin under the skin: monomers to plasma from the first depot and from the second; from the
            first to the second; 1/min.
        ksc: Glucose from plasma to the tissue under the skin, where the sensor sits; 1/min.
        u2ss: Basal insulin, pmol/kg/min.

    Raises:
        ShapeError: If the arrays differ in length or are not of one axis.
        ConfigError: If a number is missing, infinite, negative, or a share is not between 0 and 1.

    Source: Dalla Man et al. 2007 (IEEE Trans Biomed Eng 54:1740 and J Diabetes Sci Technol 1:323); type 1, S2008.
    """

    bw: Float64[np.ndarray, " person"]
    kabs: Float64[np.ndarray, " person"]
    kmax: Float64[np.ndarray, " person"]
    kmin: Float64[np.ndarray, " person"]
    b: Float64[np.ndarray, " person"]
    d: Float64[np.ndarray, " person"]
    f: Float64[np.ndarray, " person"]
    vg: Float64[np.ndarray, " person"]
    k1: Float64[np.ndarray, " person"]
    k2: Float64[np.ndarray, " person"]
    kp1: Float64[np.ndarray, " person"]
    kp2: Float64[np.ndarray, " person"]
    kp3: Float64[np.ndarray, " person"]
    ki: Float64[np.ndarray, " person"]
    fsnc: Float64[np.ndarray, " person"]
    ke1: Float64[np.ndarray, " person"]
    ke2: Float64[np.ndarray, " person"]
    vm0: Float64[np.ndarray, " person"]
    vmx: Float64[np.ndarray, " person"]
    km0: Float64[np.ndarray, " person"]
    p2u: Float64[np.ndarray, " person"]
    ib: Float64[np.ndarray, " person"]
    vi: Float64[np.ndarray, " person"]
    m1: Float64[np.ndarray, " person"]
    m2: Float64[np.ndarray, " person"]
    m4: Float64[np.ndarray, " person"]
    m30: Float64[np.ndarray, " person"]
    ka1: Float64[np.ndarray, " person"]
    ka2: Float64[np.ndarray, " person"]
    kd: Float64[np.ndarray, " person"]
    ksc: Float64[np.ndarray, " person"]
    u2ss: Float64[np.ndarray, " person"]

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            where = f"GlucosePeople.{field.name}"
            if values.shape != (len(self),):
                expected, got = str((len(self),)), str(values.shape)
                raise ShapeError("Numbers of people do not fit", where=where, expected=expected, got=got)
            if not np.isfinite(values).all() or (values < 0).any():
                raise ConfigError("A number of the model cannot be", where=where, expected="finite, 0 or more")
            if field.name in ("bw", "vg", "vi", "km0", "k1", "k2", "ka2", "u2ss") and not values.all():
                raise ConfigError("A number of the model is 0", where=where, expected="above 0")
            if field.name in ("b", "d") and ((values <= 0) | (values >= 1)).any():
                raise ConfigError("A share of a meal cannot be", where=where, expected="between 0 and 1")

    def __len__(self) -> int:
        return len(self.bw)

    @classmethod
    def from_symbols(cls, rows: Iterable[Mapping[str, object]]) -> "GlucosePeople":
        """People from one mapping each, keyed by the papers' symbols ("BW", "Vmx"); other keys are left alone.

        Raises:
            ConfigError: If there is no row, a symbol is missing, or its value is no number.
        """
        found: dict[str, list[float]] = {name: [] for name in SYMBOLS}
        for row in rows:
            missing = [symbol for symbol in SYMBOLS.values() if symbol not in row]
            if missing:
                raise ConfigError("Numbers of a person are missing", expected=", ".join(missing), where="from_symbols")
            for name, symbol in SYMBOLS.items():
                try:
                    found[name].append(float(row[symbol]))  # type: ignore[arg-type]
                except (TypeError, ValueError):
                    raise ConfigError(
                        "A value is no number", expected="a number", where=f"from_symbols[{symbol!r}]"
                    ) from None
        if not found["bw"]:
            raise ConfigError("There is nobody", expected="one row or more", got="none", where="from_symbols")
        return cls(**{name: np.array(values, dtype=np.float64) for name, values in found.items()})

    def take(self, rows: np.ndarray) -> "GlucosePeople":
        """The people of these rows, in this order; a row may come often."""
        return GlucosePeople(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @property
    def basal_units_per_hour(self) -> Float64[np.ndarray, " person"]:
        """Insulin that holds each person at rest."""
        basal: np.ndarray = self.u2ss * self.bw / PMOL_PER_UNIT * 60.0
        return basal

    def rest(
        self, basal_units_per_hour: Float64[np.ndarray, " person"] | None = None
    ) -> Float64[np.ndarray, "state person"]:
        """States in the order of `STATES` in which nothing moves under this basal insulin (their own by default).

        Masses in mg (stomach, gut), mg/kg (glucose), pmol/kg (insulin), pmol/L (delayed insulin). Glucose in tissue is
        found by halving: what comes in minus what goes out falls with it.

        Raises:
            ConfigError: If somebody cannot rest, since so much insulin takes more glucose than the liver makes.
        """
        basal = self.u2ss if basal_units_per_hour is None else basal_units_per_hour * PMOL_PER_UNIT / 60.0 / self.bw
        s1 = basal / (self.kd + self.ka1)
        s2 = self.kd * s1 / self.ka2
        ip = basal / (self.m2 + self.m4 - self.m1 * self.m2 / (self.m1 + self.m30))
        il = self.m2 * ip / (self.m1 + self.m30)
        insulin = ip / self.vi
        x = insulin - self.ib
        low, high = np.zeros_like(basal), np.full_like(basal, _MOST_MG_PER_KG)
        for _ in range(_HALVINGS):
            gt = (low + high) / 2
            rises = self._balance(gt, x, insulin)[1] > 0
            low, high = np.where(rises, gt, low), np.where(rises, high, gt)
        gp, left = self._balance(gt, x, insulin)
        # The balance need not be 0 at either end of the search; then nobody rests there.
        if (np.abs(left) > 1e-6).any():
            fix = "give less basal insulin, or check body weight and basal rate (U/h)"
            expected = "glucose above 0 at rest"
            raise ConfigError("Basal insulin lets nobody rest", expected=expected, where="rest", fix=fix)
        zero = np.zeros_like(gt)
        return np.stack([zero, zero, zero, gp, gt, ip, x, insulin, insulin, il, s1, s2, gp])

    def _balance(self, gt: np.ndarray, x: np.ndarray, insulin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Glucose in plasma that goes with this much in tissue, and what the body gains then, mg/kg/min."""
        uptake = (self.vm0 + self.vmx * x) * gt / (self.km0 + gt)
        gp = (self.k2 * gt + uptake) / self.k1
        made = np.maximum(self.kp1 - self.kp2 * gp - self.kp3 * insulin, 0.0)
        return gp, made - self.fsnc - self.ke1 * np.maximum(gp - self.ke2, 0.0) - uptake
