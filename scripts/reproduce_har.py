"""Activity from a watch and a phone on SP-SW-HAR, by people the encoder never saw; every baseline beside.

python scripts/reproduce_har.py [--quick] [--json FILE] [overrides]
"""

from reproduce import reproduce

if __name__ == "__main__":
    reproduce(
        "sp_sw_har",
        "Frozen inertial encoders on SP-SW-HAR: activity from the watch, retrieval, phone-to-watch zero-shot.",
        # The same encoders once more, now with the phone: taught on one device, asked on the other.
        further=["protocol.only=null", "protocol.also=[zero_shot]"],
    )
