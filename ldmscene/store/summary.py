"""What a store holds, as a page for notebooks. Everything that came from outside is escaped."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from PIL import Image

from ldmscene.text import human_bytes

SIDE = 96  # pixels of a thumbnail


def page(
    name: str, facts: Mapping[str, object], pictures: Iterable[tuple[str, str, np.ndarray]], arrays: pd.DataFrame
) -> str:
    """A store's name, its facts, some pictures with (sample_id, prompt, pixels), and a row for each array."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>"
        for k, v in facts.items()
    )
    title = f"<strong>ActivationStore</strong> {html.escape(name)}"
    return f"<div>{title}<table>{rows}</table>{''.join(map(_thumbnail, pictures))}{_table(arrays)}</div>"


def _thumbnail(picture: tuple[str, str, np.ndarray]) -> str:
    sample_id, prompt, pixels = picture
    return (
        f"<img style='display:inline-block;margin:2px' title='{html.escape(f'{sample_id}: {prompt}')}' "
        f"alt='{html.escape(sample_id)}' src='data:image/png;base64,{_png(pixels)}'>"
    )


def _png(image: np.ndarray) -> str:
    small = Image.fromarray(image)
    small.thumbnail((SIDE, SIDE))
    sink = io.BytesIO()
    small.save(sink, "PNG")
    return base64.b64encode(sink.getvalue()).decode()


def _table(arrays: pd.DataFrame) -> str:
    frame = arrays.assign(bytes=arrays["bytes"].map(human_bytes))
    return f"<details><summary>{len(frame)} arrays</summary>{frame.to_html(index=False, escape=True)}</details>"
