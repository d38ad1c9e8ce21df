"""LOINC codes of what is measured on a body, and UCUM units, and what they are here."""

from types import MappingProxyType

from data_pipelines.readers._points import Kept

NOT_OBSERVED = ("entered-in-error", "cancelled", "registered", "unknown")
# Other ways to write a unit; curly braces are comments in UCUM.
UNITS = MappingProxyType(
    {
        "{beats}/min": "/min",
        "{Beats}/min": "/min",
        "{breaths}/min": "/min",
        "{Breaths}/min": "/min",
        "1/min": "/min",
        "min-1": "/min",
        "bpm": "/min",
        "beats/minute": "/min",
        "beats/min": "/min",
        "breaths/minute": "/min",
        "/s": "/s",
        "{steps}": "1",
        "{step}": "1",
        "{#}": "1",
        "steps": "1",
        "steps/day": "1",
        "C": "Cel",
        "°C": "Cel",
        "degF": "[degF]",
        "mmHg": "mm[Hg]",
        "lb": "[lb_av]",
        "lbs": "[lb_av]",
        "%{SaO2}": "%",
    }
)
_RATE = {"/min": ("bpm", 1.0)}
_TEMPERATURE = {"Cel": ("celsius", 1.0)}
_PRESSURE = {"mm[Hg]": ("mmHg", 1.0), "kPa": ("mmHg", 7.500616827)}
_GLUCOSE = {
    "mg/dL": ("mg/dL", 1.0),
    "mg/dl": ("mg/dL", 1.0),
    "mmol/L": ("mg/dL", 18.0156),
    "mmol/l": ("mg/dL", 18.0156),
}
_STEPS = Kept("spread", "steps", {"1": ("1/min", 1.0)}, "steps")
_ENERGY = {
    "kcal": ("kcal/min", 1.0),
    "kJ": ("kcal/min", 1 / 4.184),
    "cal": ("kcal/min", 1e-3),
    "[Cal]": ("kcal/min", 1.0),
}
_SPO2 = Kept("averaged", "spo2", {"%": ("%", 1.0), "1": ("%", 100.0)}, "spo2")
_SENSOR = Kept("glucose", "glucose", _GLUCOSE)
_FINGER = Kept("event", "finger_glucose", _GLUCOSE)
_BODY = Kept("event", "body_temperature", _TEMPERATURE)
_WEIGHT = Kept("event", "weight", {"kg": ("kg", 1.0), "g": ("kg", 1e-3), "[lb_av]": ("kg", 0.45359237)})

KEPT = MappingProxyType(
    {
        "8867-4": Kept("averaged", "heart_rate", _RATE, "heart_rate"),
        "40443-4": Kept("event", "resting_heart_rate", _RATE),
        "80404-7": Kept("averaged", "hrv", {"ms": ("ms", 1.0), "s": ("ms", 1e3)}, "sdnn"),
        "59408-5": _SPO2,
        "2708-6": _SPO2,
        "9279-1": Kept("averaged", "resp_rate", {"/min": ("1/min", 1.0)}, "resp_rate"),
        "55423-8": _STEPS,
        "41950-7": _STEPS,
        "41981-2": Kept("spread", "energy", _ENERGY, "active"),
        "99504-3": _SENSOR,
        "105272-9": _SENSOR,
        "2339-0": _FINGER,
        "2345-7": _FINGER,
        "15074-8": _FINGER,
        "41653-7": _FINGER,
        "14743-9": _FINGER,
        "8310-5": _BODY,
        "8328-7": _BODY,
        "39106-0": Kept("averaged", "temp", _TEMPERATURE, "skin"),
        "29463-7": _WEIGHT,
        "3141-9": _WEIGHT,
        "8480-6": Kept("event", "systolic_pressure", _PRESSURE),
        "8462-4": Kept("event", "diastolic_pressure", _PRESSURE),
        "8478-0": Kept("event", "mean_pressure", _PRESSURE),
    }
)

# Sampled: LOINC or MDC code -> modality and channel. The MDC codes are of the leads.
_MDC = "urn:oid:2.16.840.1.113883.6.24"
_LEADS = {
    "131328": "ecg",
    "131329": "I",
    "131330": "II",
    "131389": "III",
    "131390": "aVR",
    "131391": "aVL",
    "131392": "aVF",
}
_CHEST = {str(131330 + number): f"V{number}" for number in range(1, 7)}
WAVES = MappingProxyType(
    {
        ("http://loinc.org", "11524-6"): ("ecg", "ecg"),
        **{(_MDC, code): ("ecg", lead) for code, lead in {**_LEADS, **_CHEST}.items()},
    }
)
