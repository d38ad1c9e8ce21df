"""Level 5 against floors: maps where the truth is known, the gate, students, causal checks.

python scripts/reproduce_explain.py [--part planted,gate,physiology,bands,distil,causal] [--quick] [--json FILE] [--seeds N]

planted     credit on planted signals, by method and architecture, beside a random map (scripts/explain_planted.py)
gate        good and bad models before the gate: what each test says (scripts/explain_gate.py)
physiology  simulated people: credit at beats and meals, where it should lie (scripts/explain_physiology.py)
bands       credit by frequency band, where the band is known (scripts/explain_bands.py)
distil      students of a probe: fidelity beside floors and a ceiling (scripts/explain_distil.py)
causal      estimates and refutations on tables whose truth is known (scripts/explain_causal.py)

`distil` and `causal` also read the recordings of HDT_FM_REAL_DATA, where they are there.
"""

from parts import measure

if __name__ == "__main__":
    measure(__doc__ or "", "explain", ("planted", "gate", "physiology", "bands", "distil", "causal"), seeds=3)
