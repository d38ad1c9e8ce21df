"""The key that signs a ledger, from the environment: HDT_FM_LEDGER_KEY, or a file named by HDT_FM_LEDGER_KEY_FILE."""

from hdt_fm.schema.keys import SigningKey as LedgerKey
from hdt_fm.schema.keys import told_by

__all__ = ["LEDGER_KEY", "LedgerKey", "ledger_key", "told_by"]
LEDGER_KEY = "HDT_FM_LEDGER_KEY"


def ledger_key() -> LedgerKey | None:
    """The key of the environment, or None.

    Raises:
        ConfigError: If it cannot be read or is shorter than 16 bytes.
    """
    return LedgerKey.of(LEDGER_KEY, "the ledger")
