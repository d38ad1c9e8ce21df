"""Respiratory rate and heart rate from frozen PPG, and ECG-PPG-respiration retrieval on BIDMC, by patients never seen.

python scripts/reproduce_bidmc.py [--quick] [--json FILE] [overrides]
"""

from reproduce import reproduce

if __name__ == "__main__":
    reproduce(
        "bidmc",
        "Frozen bedside encoders on BIDMC: respiratory rate and heart rate from PPG, retrieval, baselines.",
        # The same encoders once more: heart rate, beside the strongest rhythm among pulses.
        further=[
            "protocol.label=heart_rate",
            "protocol.estimate.low_hz=0.7",
            "protocol.estimate.high_hz=3.0",
            "protocol.estimate.rhythm=pulse",
        ],
    )
