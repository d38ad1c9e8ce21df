"""Stress against rest on Stress-Predict, by people the encoder never saw; every baseline beside.

python scripts/reproduce_stress.py [--quick] [--json FILE] [overrides]
"""

from reproduce import reproduce

if __name__ == "__main__":
    reproduce(
        "stress_predict",
        "Frozen wrist encoder on Stress-Predict: stress probe, retrieval, baselines, lost modalities.",
        always=["protocol.also=[missing_modalities]"],
    )
