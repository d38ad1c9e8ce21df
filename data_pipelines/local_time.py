"""The local clock of a visit, kept with its windows: the time of day of a reading is worth knowing."""

from dataclasses import replace

import numpy as np

from hdt_fm.schema.recording import LabelTrack, Visit

TRACK = "utc_offset"


def with_local_time(visit: Visit) -> Visit:
    """The visit with a track of how far its local clock is ahead of UTC, in seconds, where its recordings say so.

    Nothing is added to a visit that has the track already (a device that travelled), nor to one whose clock is UTC.
    Recordings that say different offsets are of no one clock: nothing is added then either.
    """
    known = {one.utc_offset_s for one in visit.recordings.values() if one.utc_offset_s is not None}
    if TRACK in visit.labels or len(known) != 1 or known == {0}:
        return visit
    begin = min(one.start_ns for one in visit.recordings.values())
    end = max(one.end_ns for one in visit.recordings.values())
    track = LabelTrack(TRACK, "value", np.array([begin]), np.array([end]), np.array([float(known.pop())]), unit="s")
    return replace(visit, labels={**visit.labels, TRACK: track})
