"""What a checkpoint was before `hdt-fm import` made it one of ours."""

from hdt_fm.schema.preparation import Plain

IMPORTED_NAME = "imported.json"


class Imported(Plain):
    """`imported.json`: what a checkpoint was before it was one of ours.

    Attributes:
        source: Name of the file; its digest tells it.
        kind: What the weights were found in.
        rename: The table as it was used.
        matched, total: Tensors of the model that the file filled, and all of them.
        fresh: Names that kept fresh weights.
        widened: Tensors that were of half precision, and are exactly these numbers in float32.
        left_out: Tensors of the file that the table left out.
        others: Entries of the file that were no tensors.
    """

    version: int = 1
    name: str
    source: str
    source_sha256: str
    kind: str
    rename: dict[str, str | None]
    matched: int
    total: int
    fresh: tuple[str, ...]
    widened: int
    left_out: int
    others: int
    hdt_fm: str
