"""Activity from a watch and a phone on SP-SW-HAR, by people the encoder never saw; every baseline beside.

python scripts/reproduce_har.py [--quick] [--json FILE] [overrides]
"""

from reproduce import reproduce

if __name__ == "__main__":
    reproduce("sp_sw_har", "Frozen inertial encoders on SP-SW-HAR: activity from the watch, watch-phone retrieval.")
