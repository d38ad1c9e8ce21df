"""Door 2: the shard folder. The written format; `data_pipelines/build.py` writes it, `hdt_fm/data/shards.py` reads it.

Contract, version 1 (tests/data/test_shards.py, tests/data_pipelines/test_build.py, test_codec.py hold each sentence):

1. A shard folder MUST hold `manifest.json`, written last by rename; without it the folder is not a data set.
2. Shards MUST be `<split>/<name>-NNNNN.tar`: USTAR, mtime, uid and gid 0, fixed member order, so that equal
   input gives equal bytes. The first member is `__hdt__/header.json`, which stock readers skip.
3. A sample is a block of up to `block_windows` windows. Its members MUST be named `bNNNNNN.<member>.npy` with
   lower-case letters, digits, `_` only, and MUST be plain .npy (never pickled), with data 64-byte aligned.
4. Members: `<modality>` (window, channel, time) as the header's dtype; `<modality>_observed` (window, bytes) packed
   bits over time, only when some sample of a present window was not observed; `mask` uint8 (window, modality)
   presence; `sqi` float16 (window, modality) share of the samples, as read, without a sign of trouble (missing,
   clipped, standing still), 0 where absent; `wid` int64 window id; `subj` int32 row of the manifest's subject
   table; `t0` int64 start in ns (shifted by the subject's secret whole weeks); `y_<label>` float32, NaN where
   unknown.
5. A modality absent from a window MUST hold zeros under mask 0; one absent from a whole block MUST be left out.
6. `i16` data decode as float32(value) * lsb + offset with the header's per-modality numbers; `f32` is bit-exact.
   Where the header gives a modality a codec, its two members MAY be `bNNNNNN.<member>.npy.b2` or `.npy.pco`: the .npy
   header as it is, then the array by that codec (`codec.py`). All other members MUST be plain.
7. `<shard>.idx` MUST be re-buildable from the tar alone; it carries an xxh3-64 of every member's bytes as stored.
8. The manifest MUST carry bytes and sha256 of each shard, the preparation, and digests of config and inputs.
9. Nothing read from a shard may execute code, escape its folder, or be trusted beyond its declared size.
10. A shard folder MAY be sealed (`shard_seal.py`): then every member of its tars and `manifest.json` are age files by
   their name and `.age`, and nothing else in the folder tells of people; `y_<label>` is `y_<number in the header>`.
11. A window whose id is among the manifest's `revoked_windows` MUST NOT be read; `data_version` rises when the folder
   is written again without them.
"""

import re
from typing import Any, Literal

from pydantic import Field, model_serializer

from hdt_fm.schema.age import SUFFIX
from hdt_fm.schema.codec import Codec
from hdt_fm.schema.preparation import LabelKind, Plain, Preparation

SHARD_VERSION = 1
MANIFEST_NAME = "manifest.json"
HEADER_MEMBER = "__hdt__/header.json"
MEMBER_PATTERN = re.compile(
    r"b(?P<block>\d{6})\.(?P<member>[a-z0-9_]{1,64})\.npy(?:\.(?P<codec>b2|pco))?(?P<sealed>\.age)?", re.ASCII
)
SPLIT_PATTERN = re.compile(r"[a-z0-9_]{1,32}")
NAME_PATTERN = re.compile(r"[a-z0-9_-]{1,64}")
SHARD_PATTERN = re.compile(rf"{SPLIT_PATTERN.pattern}/{NAME_PATTERN.pattern}-[0-9]{{5}}\.tar")
Encoding = Literal["i16", "f32"]


def member_name(block: int, member: str, codec: Codec = "none", *, sealed: bool = False) -> str:
    """Name of a member in its tar."""
    return f"b{block:06d}.{member}.npy" + ("" if codec == "none" else f".{codec}") + (SUFFIX if sealed else "")


class ModalityColumn(Plain):
    """How one modality lies in the shards. `codec` is what its members may be packed by; values stay what they are."""

    name: str
    unit: str
    channels: int = Field(ge=1)
    sampling_rate_hz: float = Field(gt=0)
    samples: int = Field(ge=1)
    encoding: Encoding
    lsb: float = Field(default=1.0, gt=0)
    offset: float = 0.0
    codec: Codec = "none"

    @model_serializer(mode="wrap")
    def _written(self, handler: Any) -> dict[str, Any]:
        # Without a codec a column is written as it always was: bytes of shards and digests of checkpoints stay.
        return _without(handler(self), codec="none")


class LabelColumn(Plain):
    """What `y_<name>` means. `class` values index `classes`."""

    name: str
    kind: LabelKind
    unit: str = ""
    classes: tuple[str, ...] = ()


class ShardHeader(Plain):
    """First member of every shard: enough to read it without the manifest."""

    version: int = SHARD_VERSION
    modalities: tuple[ModalityColumn, ...]
    labels: tuple[LabelColumn, ...]
    window_s: float
    hop_s: float


class ShardEntry(Plain):
    """One tar file, by its path inside the folder."""

    path: str
    bytes: int
    sha256: str
    windows: int
    blocks: int


class SubjectRow(Plain):
    """One person: row number = position. `group` ties people who must stay on one side of a split.

    `split` is the one that the person is in; empty in folders of before it was written down.
    """

    subject: str
    group: str
    windows: int
    hours: float
    covariates: dict[str, str] = {}
    split: str = ""

    @model_serializer(mode="wrap")
    def _written(self, handler: Any) -> dict[str, Any]:
        return _without(handler(self), split="")


class Counts(Plain):
    """What was read, kept and dropped; nothing is dropped without a count."""

    visits: int
    recordings: int
    windows_possible: int
    windows_kept: int
    windows_dropped_coverage: int
    quarantined: int = 0
    without_consent: int = 0
    windows_revoked: int = 0

    @model_serializer(mode="wrap")
    def _written(self, handler: Any) -> dict[str, Any]:
        return _without(handler(self), windows_revoked=0)


class ShardManifest(Plain):
    """`manifest.json` of a shard folder.

    Attributes:
        revoked_windows: Ids of windows that are still in a tar and may not be read.
        data_version: 1 as built; one more each time that revoked windows were taken out of the tars.
        plan_digest: Of the `plan.yaml` that the build followed; empty without one.
    """

    version: int = SHARD_VERSION
    cohort: str
    licence: str
    source: str
    preparation: Preparation
    header: ShardHeader
    splits: dict[str, tuple[ShardEntry, ...]]
    subjects: tuple[SubjectRow, ...]
    counts: Counts
    config_digest: str
    input_digest: str
    code_version: str
    consent: str = "all"
    revoked_windows: tuple[int, ...] = ()
    data_version: int = Field(default=1, ge=1)
    plan_digest: str = ""

    @property
    def windows(self) -> int:
        return sum(shard.windows for shards in self.splits.values() for shard in shards)

    @model_serializer(mode="wrap")
    def _written(self, handler: Any) -> dict[str, Any]:
        return _without(handler(self), data_version=1, plan_digest="")


def _without(written: dict[str, Any], **defaults: object) -> dict[str, Any]:
    """Leave out later fields that say nothing, so that an earlier hdt_fm can read what it always could."""
    return {key: value for key, value in written.items() if key not in defaults or value != defaults[key]}
