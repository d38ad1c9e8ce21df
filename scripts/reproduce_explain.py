"""Level 5 against floors: maps where the truth is known, the gate, students, causal checks.

python scripts/reproduce_explain.py [--part planted,gate,...] [--quick] [--json FILE] [--seeds 3]
python scripts/reproduce_explain.py --part planted --write-fitness

planted     credit on planted signals, by method and architecture, beside a random map (scripts/explain_planted.py)
gate        good and bad models before the gate: what each test says (scripts/explain_gate.py)
physiology  simulated people: credit at beats and meals, where it should lie (scripts/explain_physiology.py)
bands       credit by frequency band, where the band is known (scripts/explain_bands.py)
distil      students of a probe: fidelity beside floors and a ceiling (scripts/explain_distil.py)
causal      estimates and refutations on tables whose truth is known (scripts/explain_causal.py)

The second one writes what `planted` found to hdt_fm/explain/fitness/table.json, which `hdt-fm explain` reads.

`distil` and `causal` also read the recordings of HDT_FM_REAL_DATA, where they are there.
"""

import sys

from parts import measure

PARTS = ("planted", "gate", "physiology", "bands", "distil", "causal")
SEEDS = 3


def write_fitness() -> None:
    """Measure with the seeds that ship, and write the table that the verb reads."""
    import explain_planted

    from hdt_fm.cli.progress import reporter
    from hdt_fm.report.tables import markdown

    print(markdown(explain_planted.write(seeds=SEEDS, progress=reporter("planted"))))


if __name__ == "__main__":
    if "--write-fitness" in sys.argv:
        write_fitness()
    else:
        measure(__doc__ or "", "explain", PARTS, seeds=SEEDS)
