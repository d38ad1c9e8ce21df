"""What a config may take from the environment: places and sizes, and no secret.

A composed config is written to a run's folder, shown, logged and sent to trackers; `${oc.env:NAME}` would carry a key
there. Keys are read from the environment by the code that needs them, and never through a config.
"""

import contextlib
import os
import re
from collections.abc import Iterator

from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from hdt_fm.schema.errors import ConfigError

# Words that the names of secrets are made of, ours (HDT_FM_SUBJECT_KEY, HDT_FM_IDENTITY, HDT_FM_SHARDS_AUTHORIZATION,
# HDT_FM_SHARDS_QUERY, and the files of each) and those of others (WANDB_API_KEY, HF_TOKEN, AWS_SECRET_ACCESS_KEY).
_SECRET = re.compile(
    r"KEY|TOKEN|SECRET|PASS|IDENTITY|AUTH|CREDENTIAL|QUERY|SALT|COOKIE|SESSION|PROXY|DATABASE|DSN", re.IGNORECASE
)
_NOTHING = object()


@contextlib.contextmanager
def guarded_environment() -> Iterator[None]:
    """Let configs ask for `oc.env` by names that are no secret's, and say in words what cannot be resolved.

    The resolver stays: it is the library's, for the whole process, and to set it twice changes nothing.

    Raises:
        ConfigError: If an interpolation asks for a secret, or cannot be resolved.
    """
    OmegaConf.register_new_resolver("oc.env", _looked_up, replace=True)
    try:
        yield
    except InterpolationResolutionError as error:
        told = error.__cause__ or error.__context__
        while told is not None and not isinstance(told, ConfigError):
            told = told.__cause__ or told.__context__
        if told is not None:
            raise told from None
        raise ConfigError(
            "An interpolation of the config cannot be resolved",
            where=getattr(error, "full_key", None) or "overrides",
            got=" ".join(str(error).split())[:200],
            fix="give a value, or a default: ${oc.env:NAME,default}",
        ) from None


def _looked_up(name: str, default: object = _NOTHING) -> str | None:
    """As OmegaConf's own.

    Raises:
        ConfigError: If the name is one that a secret could have.
        KeyError: If it is not set and there is no default.
    """
    if _SECRET.search(name):
        raise ConfigError(
            "A config may not hold a secret of the environment",
            where=f"environment variable {name}",
            expected="the name of a place or a size",
            fix="leave it out: what needs a key reads it from the environment by itself",
        )
    if name in os.environ:
        return os.environ[name]
    if default is _NOTHING:
        raise KeyError(f"Environment variable '{name}' not found")
    return None if default is None else str(default)
