"""Who is simulated: fixed traits of one person, drawn wide so that levels say little across people."""

from dataclasses import dataclass

import numpy as np

AGE_BANDS = ("18-29", "30-44", "45-59", "60-74")


@dataclass(frozen=True)
class Person:
    """Traits of one simulated person. Arousal and activity run from about 0 (none) to about 1 (strong).

    The glucose effects are what a gram or a unit would do if nothing cleared it: the area under the
    closed form in `metabolism.py` is this number divided by the clearance.
    """

    sex: str
    age_band: str
    start_hour: float
    # Heart and breath.
    resting_hr_bpm: float
    hr_bpm_per_arousal: float
    hr_bpm_per_activity: float
    hr_bpm_per_light_dose: float
    rsa_bpm: float
    breaths_per_min: float
    breaths_per_min_per_arousal: float
    transit_time_s: float
    transit_time_s_per_arousal: float
    # Skin.
    eda_level_us: float
    eda_share_per_arousal: float
    scr_amplitude_us: float
    scr_per_min: float
    scr_per_min_per_arousal: float
    skin_celsius: float
    skin_celsius_per_arousal: float
    skin_celsius_per_light_dose: float
    # Stress response and movement.
    reactivity: float
    tremor_g: float
    step_hz: float
    # Glucose.
    basal_glucose_mg_dl: float
    glucose_mg_dl_per_gram: float
    glucose_mg_dl_per_unit: float
    meal_rate_per_min: float
    insulin_rate_per_min: float
    clearance_per_min: float
    glucose_mg_dl_per_min_activity: float
    # Light.
    light_time_constant_s: float
    # Devices.
    ecg_mv: float
    ppg_gain: float
    artefact_gain: float


def draw_person(generator: np.random.Generator) -> Person:
    """Draw one person. Age lowers HRV and shortens the transit time; sex moves the resting heart rate a little."""
    normal, lognormal = generator.normal, generator.lognormal
    sex = ("female", "male")[int(generator.integers(2))]
    age = int(generator.integers(len(AGE_BANDS)))
    # One in eight people hardly sweats: the electrodermal answer is missing, as in real cohorts.
    sweats = 0.15 if generator.uniform() < 0.125 else 1.0
    return Person(
        sex=sex,
        age_band=AGE_BANDS[age],
        start_hour=float(generator.uniform(8.0, 20.0)),
        resting_hr_bpm=float(np.clip(normal(71.0 if sex == "female" else 67.0, 9.0), 48.0, 98.0)),
        hr_bpm_per_arousal=float(np.clip(normal(6.0, 3.5), 0.0, 15.0)),
        hr_bpm_per_activity=float(np.clip(normal(24.0, 6.0), 10.0, 40.0)),
        hr_bpm_per_light_dose=float(np.clip(normal(2.0, 0.5), 0.8, 3.2)),
        rsa_bpm=float(lognormal(np.log(3.2) - 0.2 * age, 0.35)),
        breaths_per_min=float(np.clip(normal(14.5, 2.0), 9.5, 20.0)),
        breaths_per_min_per_arousal=float(np.clip(normal(1.8, 1.5), -1.0, 5.0)),
        transit_time_s=float(np.clip(normal(0.27 - 0.012 * age, 0.02), 0.18, 0.34)),
        transit_time_s_per_arousal=float(np.clip(normal(0.015, 0.006), 0.0, 0.03)),
        eda_level_us=float(lognormal(np.log(2.5), 0.8)),
        eda_share_per_arousal=float(np.clip(normal(0.30, 0.18), -0.05, 0.8)) * sweats,
        scr_amplitude_us=float(lognormal(np.log(0.10), 0.7)) * sweats,
        scr_per_min=float(lognormal(np.log(1.5), 0.5)),
        scr_per_min_per_arousal=float(lognormal(np.log(4.0), 0.5)),
        skin_celsius=float(np.clip(normal(32.5, 1.4), 28.0, 36.0)),
        skin_celsius_per_arousal=float(np.clip(normal(-0.40, 0.35), -1.2, 0.3)),
        skin_celsius_per_light_dose=float(np.clip(normal(-0.25, 0.06), -0.4, -0.1)),
        reactivity=float(lognormal(np.log(0.7), 0.35)),
        tremor_g=float(lognormal(np.log(0.004), 0.4)),
        step_hz=float(np.clip(normal(1.85, 0.12), 1.5, 2.2)),
        basal_glucose_mg_dl=float(np.clip(normal(125.0, 20.0), 85.0, 180.0)),
        glucose_mg_dl_per_gram=float(lognormal(np.log(3.5), 0.2)),
        glucose_mg_dl_per_unit=float(lognormal(np.log(38.0), 0.3)),
        meal_rate_per_min=float(lognormal(np.log(1 / 20), 0.2)),
        insulin_rate_per_min=float(lognormal(np.log(1 / 45), 0.15)),
        clearance_per_min=float(lognormal(np.log(0.012), 0.2)),
        glucose_mg_dl_per_min_activity=float(np.clip(normal(-0.6, 0.2), -1.2, -0.1)),
        light_time_constant_s=float(lognormal(np.log(2 * 3600.0), 0.2)),
        ecg_mv=float(lognormal(np.log(1.0), 0.4)),
        ppg_gain=float(lognormal(np.log(60.0), 0.6)),
        artefact_gain=float(lognormal(0.0, 0.3)),
    )
