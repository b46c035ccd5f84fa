"""Targets of your own: a callable, arrays made elsewhere, and classes.

A callable gets uint8 pictures (n, Y, X, 3) and gives maps (n, Y, X). Arrays come as {sample_id: (Y, X)}. NaN marks a
pixel without label.
"""

from pathlib import Path

import numpy as np

import ldmscene

PROMPTS = Path(__file__).with_name("prompts.csv")


def redness(images: np.ndarray) -> np.ndarray:
    """How much more red than green a pixel is, -1 to 1."""
    return (images[..., 0].astype(float) - images[..., 1]) / 255


def edges(images: np.ndarray) -> np.ndarray:
    """Where brightness changes quickly, in steps of 255 a pixel."""
    return np.hypot(*np.gradient(images.mean(-1), axis=(1, 2))) > 8


store = ldmscene.extract(
    "tiny-scenes", PROMPTS, "stores/example-targets", "up_blocks.3.*attn1.to_out.0", steps=4, batch_size=8
)
ldmscene.label(store, "redness", redness)
ldmscene.label(store, "edges", edges, kind="binary")

# Arrays that were made elsewhere, by sample_id; here they are made of the pictures, too.
images = store.images()
thirds = {str(s): image.mean(-1) // 86 for s, image in zip(images["sample"].values, images.values, strict=True)}
ldmscene.label(store, "brightness", thirds, kind="classes")  # 0, 1 and 2: each a mask of its own in the grid

grid = ldmscene.evaluate(store)
print(ldmscene.emergence(grid)[["metric", "final", "gain", "rival", "first"]].to_string())
