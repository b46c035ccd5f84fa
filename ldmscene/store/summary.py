"""What a store holds, in a table for terminals and a page for notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from ldmscene.store.store import ActivationStore


def contents(store: ActivationStore) -> pd.DataFrame:
    """One row for each array: how many samples are complete, and their bytes on disk."""
    per_array = store.ledger.groupby("what", sort=False)
    frame = pd.DataFrame(
        {
            "samples": per_array["sample_id"].nunique(),
            "bytes": per_array["bytes"].sum(),
            "nonfinite": per_array["nonfinite"].sum(),
        }
    )
    shapes = {path: " × ".join(map(str, store.info(path).layout.shape)) for path in frame.index}
    return frame.assign(shape=pd.Series(shapes)).rename_axis("array").reset_index()


def describe_html(store: ActivationStore) -> str:
    """The notebook's view; everything that came from outside is escaped."""
    samples = store.samples
    facts = {
        "samples": f"{int(samples['complete'].sum())} of {len(samples)} complete",
        "modules": len(store.modules),
        "steps": len(store.steps),
        "targets": ", ".join(store.targets) or "none yet",
        "size": human_bytes(int(store.ledger["bytes"].sum())),
        "fingerprint": store.fingerprint,
    }
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>"
        for k, v in facts.items()
    )
    return f"<div><strong>ActivationStore</strong> {html.escape(str(store.root))}<table>{rows}</table></div>"


def human_bytes(count: float) -> str:
    """A size with three digits, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
