"""A simulated cohort whose truth is known: bodies -> sensors -> Recordings.

A person has fixed traits (`person.py`) and a plan of stress tasks, walks, light, meals and insulin
(`plan.py`). States are integrated at 4 Hz (glucose: each 5 s), t in s unless said, lag(x, tau) solves
tau y' = x - y, ou(sd, tau) is Ornstein-Uhlenbeck noise:

    arousal   a = max(0, lag(task + mood, 25) + ou(0.12, 90))           about 0 to 1
    activity  m = lag(walk, 2); effort f = lag(m, 30)
    dose      D = lag(log10(lux / 200), tau_light), tau_light about 2 h
    breathing r = r0 + kr lag(a, 15) + 5 f + ou(0.8, 40)                per min; b = sin(2 pi integral of r)
    heart     h = h0 + ka lag(a, 8) + km f + kl D + 1.5 clock + ou(2.5, 240) + c (A b + 1.2 mayer + ou(0.7, 3))   bpm
              with c = exp(-0.5 a - 1.2 f): arousal and effort cut the variability; a beat at each whole
              number of the integral of h
    vessels   v = lag(a, 40); pulse height x exp(-0.25 v); transit time p = p0 - kp a - 0.02 f    s
    skin      T = lag(T0 + kT v + 0.5 f + 0.2 clock + kl' D + ou(0.25, 600), 240)      celsius
    sweat     E = E0 exp(ke lag(a, 30) + 0.3 lag(f, 60) + ou(0.18, 900)) + sum of height x Bateman(t - onset)    uS
              responses are a Poisson process of rate q0 + qa a per min
    glucose   linear minimal model with two-compartment meals and insulin: `metabolism.py`        mg/dL

`sensors.py` writes ECG (128 Hz), PPG (64 Hz), EDA and skin temperature (4 Hz), acceleration (32 Hz, three
axes) and glucose (each 5 min) from these, with noise, mains, wander, gaps, and artefacts that are filtered
acceleration. Traits spread so widely over people that a level says little about stress; changes within a
person and several modalities together say more.
"""

from hdt_fm.data.synthetic.body import Truth
from hdt_fm.data.synthetic.cohort import Synthetic

__all__ = ["Synthetic", "Truth"]
