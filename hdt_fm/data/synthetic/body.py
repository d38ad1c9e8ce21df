"""The body: latent states over time that every sensor is made from, and that later levels are checked against."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.data.synthetic.metabolism import simulate_glucose
from hdt_fm.data.synthetic.person import Person
from hdt_fm.data.synthetic.plan import INDOOR_LUX, Plan
from hdt_fm.data.synthetic.processes import Array, coloured_noise, lag, on_grid

RATE_HZ = 4.0


@dataclass(frozen=True)
class Truth:
    """What really happened in one person. Times are seconds from `start_ns`; arrays are (time,) at 4 Hz unless said.

    Attributes:
        subject: Pseudonym, as in the Visit.
        start_ns: Start of the visit, UTC.
        person: Fixed traits: effects, time constants, gains.
        plan: Tasks, walks, light, meals, insulin as given.
        times_s: Time grid of the states.
        stress: True within a task: the label.
        arousal: Sympathetic arousal, about 0 to 1; lags the task and has moods of its own.
        activity: Physical activity, 0 to 1.
        hr_bpm: Heart rate, breathing and slow waves included.
        respiration_per_min: Breathing rate.
        breath: Breathing waveform, -1 to 1 (inspiration up).
        vasomotor: Constriction of the skin's vessels; follows arousal with 40 s.
        transit_time_s: R peak to the steepest point of the finger pulse.
        skin_celsius: Skin temperature.
        eda_us: Skin conductance without sensor noise.
        light_lux: Light at the eye.
        light_dose: Accumulated dose: leaky integral of log10(lux / 200) with the person's time constant.
        glucose_times_s: 5-s grid of the glucose states.
        glucose_mg_dl: Plasma glucose.
        tissue_glucose_mg_dl: What the sensor sees: plasma with a lag of 8 min.
        beat_times_s: R peaks (beat,).
        breath_times_s: Starts of inspiration (breath,).
        scr_times_s: Onsets of skin conductance responses (response,).
        scr_amplitude_us: Their heights (response,).
    """

    subject: str
    start_ns: int
    person: Person
    plan: Plan
    times_s: Array
    stress: NDArray[np.bool_]
    arousal: Array
    activity: Array
    hr_bpm: Array
    respiration_per_min: Array
    breath: Array
    vasomotor: Array
    transit_time_s: Array
    skin_celsius: Array
    eda_us: Array
    light_lux: Array
    light_dose: Array
    glucose_times_s: Array
    glucose_mg_dl: Array
    tissue_glucose_mg_dl: Array
    beat_times_s: Array
    breath_times_s: Array
    scr_times_s: Array
    scr_amplitude_us: Array


def simulate_body(
    generator: np.random.Generator, person: Person, plan: Plan, duration_s: float, *, subject: str, start_ns: int
) -> Truth:
    """Run the latent states of one person through a plan; the equations are in the package's docstring."""
    times = np.arange(int(np.ceil(duration_s * RATE_HZ)) + 1) / RATE_HZ
    count = len(times)

    def noise(sd: float, time_constant_s: float) -> Array:
        return coloured_noise(generator, count, RATE_HZ, sd=sd, time_constant_s=time_constant_s)

    stress = on_grid(plan.stress_s, times, plan.stress_height)
    drive = stress + on_grid(plan.moods, times, plan.mood_height)
    arousal = np.maximum(lag(drive, 25.0, RATE_HZ) + noise(0.12, 90.0), 0.0)
    activity = np.clip(lag(on_grid(plan.walks_s, times, plan.walk_height), 2.0, RATE_HZ), 0.0, 1.0)
    light = INDOOR_LUX + on_grid(plan.outdoors_s, times, plan.outdoor_lux)
    light_dose = lag(np.log10(light / INDOOR_LUX), person.light_time_constant_s, RATE_HZ, initial=0.0)
    # The body clock: warmest skin and fastest heart in the late afternoon.
    clock = np.cos(2 * np.pi * (person.start_hour + times / 3600.0 - 17.0) / 24.0)

    effort = lag(activity, 30.0, RATE_HZ)
    respiration = person.breaths_per_min + person.breaths_per_min_per_arousal * lag(arousal, 15.0, RATE_HZ)
    respiration = np.clip(respiration + 5.0 * effort + noise(0.8, 40.0), 6.0, 36.0)
    breath_phase = _cycles(respiration, generator.uniform())
    breath = np.sin(2 * np.pi * breath_phase)

    calm = np.exp(-0.5 * arousal - 1.2 * effort)
    mayer = 1.2 * np.sin(2 * np.pi * _cycles(6.0 + noise(0.5, 60.0), generator.uniform()))
    hr = person.resting_hr_bpm + person.hr_bpm_per_arousal * lag(arousal, 8.0, RATE_HZ)
    hr = hr + person.hr_bpm_per_activity * effort + person.hr_bpm_per_light_dose * light_dose + 1.5 * clock
    hr = hr + noise(2.5, 240.0) + noise(0.7, 3.0) * calm + (person.rsa_bpm * breath + mayer) * calm
    hr = np.clip(hr, 38.0, 190.0)

    vasomotor = lag(arousal, 40.0, RATE_HZ)
    transit = person.transit_time_s - person.transit_time_s_per_arousal * arousal - 0.02 * effort
    transit = np.maximum(transit + noise(0.002, 30.0), 0.12)
    # Skin moves slowly (4 min) towards a target that falls with constriction and rises with effort and the clock.
    skin_target = person.skin_celsius + person.skin_celsius_per_arousal * vasomotor + 0.5 * effort + 0.2 * clock
    skin_target = skin_target + person.skin_celsius_per_light_dose * light_dose + noise(0.25, 600.0)
    scr_times, scr_amplitude = _draw_responses(generator, person, arousal)
    tonic = _tonic_conductance(person, arousal, effort, drift=noise(0.18, 900.0))
    glucose_times, glucose, tissue = simulate_glucose(
        person, activity, plan.meals, plan.insulin, activity_rate_hz=RATE_HZ, duration_s=duration_s
    )
    return Truth(
        subject=subject,
        start_ns=start_ns,
        person=person,
        plan=plan,
        times_s=times,
        stress=stress > 0,
        arousal=arousal,
        activity=activity,
        hr_bpm=hr,
        respiration_per_min=respiration,
        breath=breath,
        vasomotor=vasomotor,
        transit_time_s=transit,
        skin_celsius=lag(skin_target, 240.0, RATE_HZ),
        eda_us=tonic + _sum_of_responses(times, scr_times, scr_amplitude),
        light_lux=light,
        light_dose=light_dose,
        glucose_times_s=glucose_times,
        glucose_mg_dl=glucose,
        tissue_glucose_mg_dl=tissue,
        beat_times_s=_crossings(times, _cycles(hr, generator.uniform())),
        breath_times_s=_crossings(times, breath_phase),
        scr_times_s=scr_times,
        scr_amplitude_us=scr_amplitude,
    )


def _cycles(rate_per_min: Array, first: float) -> Array:
    """Integral of a rate (trapezium), in cycles (time,), from a given first phase."""
    steps = (rate_per_min[1:] + rate_per_min[:-1]) / (2 * 60.0 * RATE_HZ)
    return first + np.concatenate([[0.0], np.cumsum(steps)])


def _crossings(times_s: Array, cycles: Array) -> Array:
    """Times at which the phase passes whole numbers: integrate-and-fire on the rate."""
    return np.interp(np.arange(np.ceil(cycles[0]), cycles[-1]), cycles, times_s)


def _draw_responses(generator: np.random.Generator, person: Person, arousal: Array) -> tuple[Array, Array]:
    """Onsets (s) and heights (uS) of skin conductance responses: a Poisson process driven by arousal."""
    per_min = person.scr_per_min + person.scr_per_min_per_arousal * arousal
    fires = generator.uniform(size=len(arousal)) < per_min / (60.0 * RATE_HZ)
    jitter = generator.uniform(size=len(arousal))
    heights = person.scr_amplitude_us * generator.lognormal(0.0, 0.5, len(arousal))
    return (np.flatnonzero(fires) + jitter[fires]) / RATE_HZ, heights[fires]


def _tonic_conductance(person: Person, arousal: Array, effort: Array, *, drift: Array) -> Array:
    """Slow skin conductance, uS: level times the exponential of arousal (30 s), sweat of effort and drift."""
    share = person.eda_share_per_arousal * lag(arousal, 30.0, RATE_HZ) + 0.3 * lag(effort, 60.0, RATE_HZ)
    return np.clip(person.eda_level_us * np.exp(share + drift), 0.02, 60.0)


def scr_kernel(times_s: Array) -> Array:
    """One skin conductance response of height 1: difference of exponentials, 0.75 s up and 3 s down (Bateman)."""
    rise, decay = 0.75, 3.0
    peak_s = rise * decay / (decay - rise) * np.log(decay / rise)
    top = np.exp(-peak_s / decay) - np.exp(-peak_s / rise)
    after = np.maximum(times_s, 0.0)
    return (np.exp(-after / decay) - np.exp(-after / rise)) / top


def _sum_of_responses(times_s: Array, onsets_s: Array, heights: Array) -> Array:
    """Add every response on the 4-Hz grid at its exact onset; 30 s after it nothing is left."""
    track = np.zeros(len(times_s) + int(30 * RATE_HZ) + 1)
    offsets = np.arange(int(30 * RATE_HZ))
    first = np.ceil(onsets_s * RATE_HZ).astype(int)
    places = first[:, None] + offsets[None, :]
    curves = heights[:, None] * scr_kernel(places / RATE_HZ - onsets_s[:, None])
    np.add.at(track, places, curves)
    return track[: len(times_s)]
