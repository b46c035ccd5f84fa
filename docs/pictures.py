"""Draw the pictures of docs/concepts.md from the demo's store: `python docs/pictures.py` after `make demo`.

A sample at some steps, what a module computes there, the two branches, labels, and what a probe reads.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import ldmscene

OUT = Path(__file__).parent
STEPS = [0, 3, 6, 9, 14]
MODULE = "up_blocks.3.attentions.0"
INCHES, DPI = 7.0, 110


def main() -> None:
    """Write docs/concept-*.png."""
    store = ldmscene.open("stores/demo")
    sample = store.samples["sample_id"][store.samples["split"] == "test"].iloc[2]
    steps(store, sample)
    branches(store, sample)
    labels(store, sample)
    probe(store, sample)


def steps(store: ldmscene.ActivationStore, sample: str) -> None:
    """The unfinished picture, what the model predicts of the finished one, and a module's output."""
    activations = store.activations(MODULE, STEPS, samples=[sample])[0].values
    rows = {
        "x_t": store.previews("noisy", step=STEPS, samples=[sample])[0].values,
        "predicted x_0": store.previews("predicted", step=STEPS, samples=[sample])[0].values,
        "activation": colours(activations),
    }
    figure, axes = plt.subplots(len(rows), len(STEPS), figsize=(INCHES, 4.4))
    for row, (name, pictures) in zip(axes, rows.items(), strict=True):
        for ax, step, picture in zip(row, STEPS, pictures, strict=True):
            show(ax, picture, f"step {step}" if name == "x_t" else "")
        row[0].set_ylabel(name)
    save(figure, "steps")


def branches(store: ldmscene.ActivationStore, sample: str) -> None:
    """The same module at the same step, with the prompt and without."""
    row = store.samples.set_index("sample_id").loc[sample]
    both = ldmscene.extract(
        "tiny-scenes",
        [(row["prompt"], int(row["seed"]))],
        "stores/branches",
        MODULE + ".*.attn1.to_out.0",
        branch="both",
        guidance_scale=3.0,
    )
    found = [both.activations(MODULE, 6, branch=branch)[0].values for branch in ("cond", "uncond")]
    figure, axes = plt.subplots(1, 3, figsize=(INCHES, 2.4))
    pictures = [*colours(np.stack(found)), np.linalg.norm(found[0] - found[1], axis=-1)]
    for ax, picture, title in zip(axes, pictures, ("cond", "uncond", "how far apart"), strict=True):
        show(ax, picture, title)
    save(figure, "branches")


def labels(store: ldmscene.ActivationStore, sample: str) -> None:
    """The finished picture and what labelers say of it."""
    figure, axes = plt.subplots(1, 4, figsize=(INCHES, 2.1))
    show(axes[0], store.images(samples=[sample])[0].values, "picture")
    for ax, target in zip(axes[1:], ("depth", "mask", "shading"), strict=True):
        show(ax, store.labels(target, samples=[sample])[0].values, f"label: {target}")
    save(figure, "labels")


def probe(store: ldmscene.ActivationStore, sample: str) -> None:
    """One map of the activation's size for a label of the picture's: cells."""
    X, y = store.activations(MODULE, 14, "train"), store.labels("mask", "train", binary=True)
    fitted = ldmscene.LogisticProbe(alphas=(1e2, 1e4), cv=3).fit(X, y, groups=X["prompt"])
    own = store.activations(MODULE, 14, samples=[sample])
    figure, axes = plt.subplots(1, 4, figsize=(INCHES, 2.1))
    show(axes[0], colours(own.values)[0], f"activation, {own.sizes['y']} × {own.sizes['x']}")
    show(axes[1], fitted.predict_cells(own)[0, ..., 1].values, "what the probe reads")
    label = store.labels("mask", samples=[sample])[0].values
    show(axes[2], label, f"label, {label.shape[0]} × {label.shape[1]}")
    show(axes[3], label[44:60, 4:20], "cells of 4 × 4 pixels")
    for at in np.arange(-0.5, 16, 4):
        axes[3].axhline(at, color="#888", linewidth=0.8)
        axes[3].axvline(at, color="#888", linewidth=0.8)
    save(figure, "probe")


def colours(maps: np.ndarray) -> np.ndarray:
    """Maps (n, y, x, channel) as pictures: the three directions in which they vary most are red, green and blue."""
    flat = maps.reshape(-1, maps.shape[-1]).astype(np.float64)
    centred = flat - flat.mean(0)
    scores = centred @ np.linalg.svd(centred, full_matrices=False)[2][:3].T
    low, high = np.quantile(scores, (0.02, 0.98), axis=0)
    return np.clip((scores - low) / (high - low), 0, 1).reshape(*maps.shape[:-1], 3)


def show(ax: plt.Axes, picture: np.ndarray, title: str) -> None:
    ax.imshow(picture, cmap="viridis", interpolation="nearest")
    ax.set_title(title, fontsize=9)
    ax.set(xticks=[], yticks=[])


def save(figure: plt.Figure, name: str) -> None:
    figure.tight_layout()
    figure.savefig(OUT / f"concept-{name}.png", dpi=DPI)


if __name__ == "__main__":
    main()
