"""What a store holds, in a table for terminals and a page for notebooks."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from ldmscene.store.layout import IMAGE

if TYPE_CHECKING:
    from ldmscene.store.store import ActivationStore

THUMBNAILS, SIDE = 8, 96  # how many, and pixels


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
    """The notebook's view, with the first pictures; everything that came from outside is escaped."""
    samples = store.samples
    facts = {
        "samples": f"{int(samples['complete'].sum())} of {len(samples)} complete",
        "modules": len(store.modules),
        "steps": len(store.steps),
        "targets": ", ".join(store.targets) or "none yet",
        "size": human_bytes(int(store.ledger["bytes"].sum())),
        "fingerprint": store.fingerprint,
    }
    if samples["dropped"].any():
        facts["of these in statistics alone"] = int(samples["dropped"].sum())
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>"
        for k, v in facts.items()
    )
    name = f"<strong>ActivationStore</strong> {html.escape(str(store.root))}"
    return f"<div>{name}<table>{rows}</table>{_thumbnails(store)}{_arrays(store)}</div>"


def _thumbnails(store: ActivationStore) -> str:
    frame = store.samples
    ids = [s for s in frame["sample_id"] if s in store.complete(IMAGE)][:THUMBNAILS]
    if not ids:
        return ""
    prompts = frame.set_index("sample_id")["prompt"]
    images = store.info(IMAGE).read(store.rows(ids), {})
    return "".join(
        f"<img style='display:inline-block;margin:2px' title='{html.escape(f'{s}: {prompts[s]}')}' "
        f"alt='{html.escape(s)}' src='data:image/png;base64,{_png(image)}'>"
        for s, image in zip(ids, images, strict=True)
    )


def _png(image: np.ndarray) -> str:
    small = Image.fromarray(image)
    small.thumbnail((SIDE, SIDE))
    sink = io.BytesIO()
    small.save(sink, "PNG")
    return base64.b64encode(sink.getvalue()).decode()


def _arrays(store: ActivationStore) -> str:
    frame = contents(store)
    frame["bytes"] = frame["bytes"].map(human_bytes)
    return f"<details><summary>{len(frame)} arrays</summary>{frame.to_html(index=False, escape=True)}</details>"


def human_bytes(count: float) -> str:
    """A size with three digits, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
