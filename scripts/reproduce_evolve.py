"""Level 4 against floors: dose, domains in turn, drift, killed updates, a streamed twin, real exposure.

python scripts/reproduce_evolve.py [--part dose,stream,drift,kills,twin,world] [--quick] [--json FILE] [--seeds 2]
python scripts/reproduce_evolve.py --part expose,heads

dose    what has accumulated of an exposure, on simulated people whose dose is known (scripts/evolve_dose.py)
stream  one cohort after the other: what is learned, and what is forgotten (scripts/evolve_stream.py)
drift   a sensor, a body or a record that changes on a known day (scripts/evolve_drift.py)
kills   updates killed at random points (scripts/evolve_kills.py)
twin    what one more window of a person costs (scripts/evolve_twin.py)
world   weather, place and light beside the next day's body, with a placebo (scripts/evolve_world.py)

Further, by name alone:

expose  exposures from a table to a twin: verdicts, doses, however a record is cut (scripts/evolve_expose.py)
heads   probes that learn one more site (scripts/evolve_heads.py)

`stream`, `drift`, `world` and `heads` read the recordings of HDT_FM_REAL_DATA; all but `world` shard them first
(runs/NAME/shard).
"""

from parts import measure

if __name__ == "__main__":
    measure(__doc__ or "", "evolve", ("dose", "stream", "drift", "kills", "twin", "world"), further=("expose", "heads"))
