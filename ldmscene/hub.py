"""Names of models: a local folder or a hub id, and one sentence where it is neither."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ldmscene.choices import EMBEDDED
from ldmscene.errors import InputError


def check_there(name: str, file: str, revision: str | None = None) -> None:
    """Refuse a name that is no folder and no hub id whose `file` is cached or can be had.

    The hub is asked once, without the minutes of retries that loading begins with.

    Raises
    ------
    InputError
        Which says why, and what to do.
    """
    if Path(name).is_dir():
        return
    if Path(name).is_file():
        raise InputError(
            f"{name} is a single file, and its configuration isn't in it; load it yourself, with diffusers' or "
            "transformers' own from_single_file or from_pretrained, and pass the result, or save that as a folder"
        )
    if "/" not in name and name != EMBEDDED and get_close_matches(name, [EMBEDDED], cutoff=0.8):
        raise InputError(f"no model named {name!r}: expected a local folder or a hub id; nearest: {EMBEDDED}")
    try:
        if not isinstance(try_to_load_from_cache(name, file, revision=revision), str):
            get_hf_file_metadata(hf_hub_url(name, file, revision=revision), timeout=10)
    except HFValidationError as error:
        raise InputError(f"{name!r} is no local folder, and can't be a hub id, which is like 'owner/name'") from error
    except GatedRepoError as error:
        raise InputError(
            f"the hub gives {name!r} to those alone who accepted its terms: do so on its page, then `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"the hub's {name!r} has no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{name!r} is no local folder, and the hub has none of that name for you; check it, or `hf auth login` "
            "where it is private"
        ) from error
    except EntryNotFoundError as error:
        raise InputError(f"the hub's {name!r} has no {file}, so that it can't be loaded; choose another") from error
    except Exception as error:  # of the network, of every kind
        reason = "HF_HUB_OFFLINE is set" if type(error).__name__ == "OfflineModeIsEnabled" else type(error).__name__
        raise InputError(
            f"{name!r} is no local folder, it isn't in the hub's cache, and the hub can't be reached ({reason}); "
            f"get it with network by `hf download {name}`, or name a local folder"
        ) from error
