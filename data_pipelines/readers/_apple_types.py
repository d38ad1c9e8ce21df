"""What Apple Health calls things, and what they are here."""

from types import MappingProxyType

from data_pipelines.readers._points import Kept

_Q, _C = "HKQuantityTypeIdentifier", "HKCategoryTypeIdentifier"
SLEEP = f"{_C}SleepAnalysis"
SDNN = f"{_Q}HeartRateVariabilitySDNN"
GLUCOSE = f"{_Q}BloodGlucose"


def _each(*units: str) -> dict[str, tuple[str, float]]:
    return {unit: (unit, 1.0) for unit in units}


_PER_MINUTE = {"count/min": ("bpm", 1.0), "count/s": ("bpm", 60.0)}
_ENERGY = {
    "kcal": ("kcal/min", 1.0),
    "Cal": ("kcal/min", 1.0),
    "kJ": ("kcal/min", 1 / 4.184),
    "cal": ("kcal/min", 1e-3),
}
# Fahrenheit has an offset too, which the reader takes off.
_TEMPERATURE = {"degC": ("celsius", 1.0), "degF": ("celsius", 1.0)}
_MG_PER_MMOL = 18.0156

# A unit of the export -> unit of the recording or label, and the factor to it.
KEPT = MappingProxyType(
    {
        f"{_Q}HeartRate": Kept("averaged", "heart_rate", _PER_MINUTE, "heart_rate"),
        SDNN: Kept("averaged", "hrv", {"ms": ("ms", 1.0), "s": ("ms", 1e3)}, "sdnn"),
        # Apple writes a share under the name of per cent.
        f"{_Q}OxygenSaturation": Kept("averaged", "spo2", {"%": ("1", 1.0)}, "spo2"),
        f"{_Q}RespiratoryRate": Kept(
            "averaged", "resp_rate", {"count/min": ("1/min", 1.0), "count/s": ("1/min", 60.0)}, "resp_rate"
        ),
        f"{_Q}EnvironmentalAudioExposure": Kept(
            "averaged", "sound", {"dBASPL": ("dB", 1.0), "dB": ("dB", 1.0)}, "environment"
        ),
        f"{_Q}HeadphoneAudioExposure": Kept(
            "averaged", "sound_ear", {"dBASPL": ("dB", 1.0), "dB": ("dB", 1.0)}, "headphones"
        ),
        f"{_Q}StepCount": Kept("spread", "steps", {"count": ("1/min", 1.0)}, "steps"),
        f"{_Q}ActiveEnergyBurned": Kept("spread", "energy", _ENERGY, "active"),
        GLUCOSE: Kept(
            "glucose",
            "glucose",
            {
                "mg/dL": ("mg/dL", 1.0),
                "mmol<180.1558800000541>/L": ("mg/dL", _MG_PER_MMOL),
                "mmol<180.1558800000541>/l": ("mg/dL", _MG_PER_MMOL),
                "mmol/L": ("mg/dL", _MG_PER_MMOL),
            },
        ),
        SLEEP: Kept("sleep", "sleep_stage", {}),
        f"{_Q}AppleSleepingWristTemperature": Kept("interval", "wrist_temperature", _TEMPERATURE),
        f"{_Q}RestingHeartRate": Kept("interval", "resting_heart_rate", _PER_MINUTE),
        f"{_Q}BodyTemperature": Kept("event", "body_temperature", _TEMPERATURE),
        f"{_Q}BodyMass": Kept("event", "weight", {"kg": ("kg", 1.0), "lb": ("kg", 0.45359237), "g": ("kg", 1e-3)}),
        f"{_Q}BloodPressureSystolic": Kept("event", "systolic_pressure", _each("mmHg")),
        f"{_Q}BloodPressureDiastolic": Kept("event", "diastolic_pressure", _each("mmHg")),
        f"{_Q}InsulinDelivery": Kept("event", "insulin", {"IU": ("U", 1.0)}),
        f"{_Q}DietaryCarbohydrates": Kept("event", "carbs", _each("g")),
        f"{_Q}DietaryCaffeine": Kept("event", "caffeine", {"mg": ("mg", 1.0), "g": ("mg", 1e3)}),
        f"{_Q}VO2Max": Kept("event", "vo2max", {"mL/min·kg": ("mL/min/kg", 1.0), "mL/kg·min": ("mL/min/kg", 1.0)}),
    }
)

_S = "HKCategoryValueSleepAnalysis"
# None is `in bed`, which lasts through the stages and is a track of its own.
SLEEP_VALUES: MappingProxyType[str, str | None] = MappingProxyType(
    {
        f"{_S}InBed": None,
        f"{_S}Awake": "wake",
        f"{_S}AsleepCore": "light",
        f"{_S}AsleepDeep": "deep",
        f"{_S}AsleepREM": "rem",
        f"{_S}Asleep": "asleep",
        f"{_S}AsleepUnspecified": "asleep",
    }
)

# Names of a fixed list only: an app may write anything in that place.
WORKOUTS = (
    *("walking", "running", "cycling", "hiking", "swimming", "rowing", "elliptical", "stairs", "yoga", "pilates"),
    *("traditional_strength_training", "functional_strength_training", "core_training", "cross_training", "dance"),
    *("high_intensity_interval_training", "mixed_cardio", "flexibility", "cooldown", "mind_and_body", "tennis"),
    *("soccer", "basketball", "volleyball", "badminton", "golf", "climbing", "skating_sports", "downhill_skiing"),
    *("cross_country_skiing", "snowboarding", "jump_rope", "stair_climbing", "step_training", "boxing", "other"),
)
WORKOUT_PREFIX = "HKWorkoutActivityType"
