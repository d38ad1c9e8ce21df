"""Respiratory rate from frozen PPG, and ECG-PPG-respiration retrieval on BIDMC, by patients never seen.

python scripts/reproduce_bidmc.py [--quick] [--json FILE] [overrides]
"""

from reproduce import reproduce

if __name__ == "__main__":
    reproduce("bidmc", "Frozen bedside encoders on BIDMC: respiratory rate, retrieval, baselines.")
