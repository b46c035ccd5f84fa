"""A synthetic intervention, and a site that shows it twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from ldmscene.report import Intervention, write_site

KINDS = {
    "edit": "edit", "none": "none", "shuffled": "control", "random-0": "control", "donor": "donor", "rule-adam": "rule",
    "from-2": "later", "from-4": "later",
}  # fmt: skip
GAINS = (0.3, 0.0, 0.1, -0.05, 0.5, 0.2, 0.15, 0.02)


@pytest.fixture(scope="session")
def intervention() -> Intervention:
    index = pd.MultiIndex.from_product([KINDS, ["dice", "size"]], names=["variant", "measure"])
    frame = pd.DataFrame({"mean": 0.5, "low": 0.4, "high": 0.6, "lead": 0.1, "lead_low": 0.0, "lead_high": 0.2}, index)
    for name, shift in (("gain", 0.0), ("gain_low", -0.05), ("gain_high", 0.05)):
        frame[name] = np.repeat(GAINS, 2) + shift
    frame.attrs = {"metric": "dice", "target": "mask", "judge": "mask", "begins": 0, "higher_is_better": True}
    rng, steps = np.random.default_rng(0), np.arange(15)
    images = {name: rng.integers(0, 256, (2, 64, 64, 3), np.uint8) for name in ("original", "edit", "shuffled")}
    wanted = np.zeros((2, 64, 64), np.float32)
    wanted[:, 20:40, 30:50] = 1
    score = {name: ("step", 0.8 + shift + 0 * steps) for name, shift in (("mean", 0.0), ("low", -0.1), ("high", 0.1))}
    return Intervention(
        name="mask", said="conditional edit of mask", sentence="A causal role is not shown.", effects=frame,
        kinds=KINDS, nearest="shuffled", later=frame.xs("dice", level="measure").loc[["edit", "from-2", "from-4"]][
            ["gain", "gain_low", "gain_high"]].set_axis([0, 2, 4]),
        emergence=xr.Dataset(score, {"step": steps}),
        samples=pd.DataFrame({"prompt": ["<script>harm()</script>", "a cube"]}, pd.Index(["a", "b"], name="sample_id")),
        pictures=images, wanted=wanted, kind="binary",
    )  # fmt: skip


@pytest.fixture(scope="session")
def edited_site(small, intervention, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("interventions")
    write_site(
        replace(small, interventions=[intervention, replace(intervention, name="late", later=intervention.later[:1])]),
        folder,
    )
    return folder
