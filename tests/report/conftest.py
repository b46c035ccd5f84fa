"""A synthetic report: balls on a plane that appear from noise, with probes that see them early."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from ldmscene import grid as grids
from ldmscene.evaluation.provenance import about, provenance
from ldmscene.manifest import read_manifest
from ldmscene.report import ReportData, write_site
from ldmscene.store.prepare import prepare_store
from tests.report.edited import edited_site, intervention  # noqa: F401

PLACES = [
    *(f"down_blocks.{i}.attentions.{j}" for i in range(3) for j in range(2)),
    "mid_block.attentions.0",
    *(f"up_blocks.{i}.attentions.{j}" for i in range(1, 4) for j in range(3)),
]
MODULES = [f"{place}.transformer_blocks.0.attn1.to_out.0" for place in PLACES]
BLOCKS = ["encoder"] * 6 + ["bottleneck"] + ["decoder"] * 9
SIZES = [16, 16, 8, 8, 4, 4, 2, *[4] * 3, *[8] * 3, *[16] * 3]
METRICS = {
    "depth": ["spearman", "pearson", "rmse"],
    "mask": ["dice", "dice_background", "iou"],
    "shading": ["pearson", "spearman"],
}
BASELINES = ["labeler on x_t", "labeler on predicted x_0", "position only", "raw latent"]
GAINS = {"explained", "left", "gain_cv", "correlation", "refit", "ceiling", "rival", "labeler"}
GAINS |= {f"{what}_{sums}" for what in ("rival", "labeler") for sums in ("explained", "left")}
STEPS, SIDE = 15, 64
PROMPTS = {
    0: "<script>window.harmed = true</script>",
    1: "ball " * 2000,
    2: "كرة حمراء \u202e كبيرة",
    3: "a\x00b",
}


def scene(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One ball on a plane: image (Y, X, rgb), depth, mask and shading (Y, X)."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    cx, cy, radius = rng.uniform(0.3, 0.7), rng.uniform(0.45, 0.65), rng.uniform(0.12, 0.25)
    lift = np.sqrt(np.clip(radius**2 - (x - cx) ** 2 - (y - cy) ** 2, 0, None))
    mask, sky = lift > 0, y < 0.4
    depth = np.where(mask, 0.45 + lift, np.where(sky, 0.02, (y - 0.4) * 0.9))
    light = np.where(mask, 0.25 + 0.7 * lift / radius - 0.5 * (x - cx), 0.8 - 0.4 * (abs(x - cx - 0.2) < 0.1))
    colour = np.where(mask[..., None], rng.uniform(0.2, 1, 3), np.where(sky[..., None], [0.6, 0.75, 0.95], 0.6))
    image = np.clip(colour * np.where(sky & ~mask, 1, light)[..., None], 0, 1)
    return {"image": image, "depth": depth, "mask": mask, "shading": np.where(sky & ~mask, np.nan, light)}


def rise(start: float, end: float, middle: float, width: float = 1.2) -> np.ndarray:
    """A score's way over the steps (step,)."""
    return start + (end - start) / (1 + np.exp((middle - np.arange(STEPS)) / width))


def make_grid(ids: list[str], rng: np.random.Generator) -> xr.Dataset:
    """Scores that rise early in the decoder's fine modules, later in the labelers."""
    names = sorted({m for ms in METRICS.values() for m in ms})
    quality = np.array([0.55, 0.6, 0.65, 0.68, 0.62, 0.6, 0.4, 0.66, 0.7, 0.74, 0.8, 0.84, 0.86, 0.9, 0.88, 0.82])
    shape = (len(METRICS), len(names), len(MODULES), STEPS, len(ids))
    probe, permuted = np.full(shape, np.nan), np.full(shape, np.nan)
    baseline = np.full((len(BASELINES), len(METRICS), len(names), STEPS, len(ids)), np.nan)
    noise = partial(rng.normal, 0, 0.05)
    for t, metrics in enumerate(METRICS.values()):
        for k, metric in enumerate(metrics):
            m, worse = names.index(metric), -0.04 * k
            way = np.stack([rise(0.35 * q, q, 1 + t * 0.6) for q in quality])
            probe[t, m] = way[..., None] + worse + noise(shape[2:])
            permuted[t, m] = 0.3 * way[..., None] + noise(shape[2:])
            for b, (end, middle) in enumerate([(0.93, 8), (0.9, 4.5), (0.3, -50), (0.62, 7)]):
                baseline[b, t, m] = rise(0.1, end, middle)[:, None] + noise((STEPS, len(ids)))
    dims = ("target", "metric", "module", "step", "sample")
    cells = ("target", "module", "step", "sample")
    gain = np.stack([np.stack([rise(0.0, 0.8 * q, 2 + t) for q in quality]) for t in range(len(METRICS))])
    left = rng.uniform(1, 3, len(ids))
    cv = np.stack([np.stack([rise(0.35 * q, q, 1) for q in quality])] * len(METRICS))
    return xr.Dataset(
        {
            "probe": (dims, probe),
            "permuted": (dims, permuted),
            "baseline": (("reading", "target", "metric", "step", "sample"), baseline),
            "alpha": (("target", "module", "step"), np.full(cv.shape, 10.0)),
            "cv_score": (("target", "module", "step"), cv),
            "explained": (cells, (gain[..., None] + noise((*gain.shape, len(ids)))) * left),
            "left": (cells, np.broadcast_to(left, (*gain.shape, len(ids)))),
            "gain_cv": (("target", "module", "step"), gain),
            "correlation": (cells, np.full((*gain.shape, len(ids)), 0.6)),
            "refit": (("target", "module", "step"), np.full(gain.shape, 0.01)),
            "ceiling": (("target", "module", "step"), np.full(gain.shape, np.array(SIZES)[:, None] / 18)),
            **_beside("rival", [(0.0, 0), (0.12, 9)], left, noise),
            **_beside("labeler", [(0.9, 8), (0.85, 5)], left, noise),
        },
        coords={
            "target": list(METRICS), "metric": names, "module": MODULES, "step": np.arange(STEPS),
            "sample": ids, "prompt": ("sample", np.arange(len(ids))),
            "reading": BASELINES, "timestep": ("step", np.linspace(999, 0, STEPS).round().astype(int)),
            "primary": ("target", [m[0] for m in METRICS.values()]),
            "kind": ("target", ["binary" if t == "mask" else "continuous" for t in METRICS]),
            "block": ("module", BLOCKS),
            "height": ("module", SIZES), "width": ("module", SIZES),
            "channels": ("module", [64] * len(SIZES)),
            "rival": [grids.SHUFFLED, grids.RAW_LATENT],
            "labeler": [grids.LABELER_NOISY, grids.LABELER_PREDICTED],
        },
        attrs={"beyond": '["position"]'},
    )  # fmt: skip


def _beside(what: str, ways: list[tuple[float, float]], left: np.ndarray, noise) -> dict[str, tuple]:
    """What is compared with the probe, of each the way of its gain: (end, middle)."""
    dims, shape = (what, "target", "step", "sample"), (len(METRICS), STEPS, len(left))
    gain = np.stack([rise(0, end, middle)[:, None] + 0.2 * noise(shape) for end, middle in ways])
    return {f"{what}_explained": (dims, gain * left), f"{what}_left": (dims, np.broadcast_to(left, gain.shape))}


def moves(most: float) -> xr.DataArray:
    """Gains of probes whose code moves: the further two steps are apart, the less is read, and at last one misleads."""
    steps = np.arange(STEPS)
    gain = most - 0.08 * abs(steps[:, None] - steps)
    return xr.DataArray(gain, dims=("fitted", "applied"), coords={"fitted": steps, "applied": steps})


def published(data: ReportData) -> ReportData:
    """The same report of a grid that has scores alone, as of `evaluate(beyond=None)`."""
    effects = [name for name in data.grid.variables if name in GAINS]
    return replace(data, grid=data.grid.drop_vars(effects).drop_attrs(), transfer={})


def make_data(count: int = 12, seed: int = 0, prompts: dict[int, str] | None = None) -> ReportData:
    """A report on `count` samples; `prompts` replaces those of some samples."""
    rng = np.random.default_rng(seed)
    ids = [f"p{i:03d}-s{7 * i}" for i in range(count)]
    scenes = [scene(rng) for _ in ids]
    stack = {k: np.stack([s[k] for s in scenes]) for k in scenes[0]}
    fade = rise(0.02, 1, 7, 2)[:, None, None]
    grain = rng.normal(0.5, 0.22, (STEPS, SIDE, SIDE, 3))
    blend = fade[..., None] * stack["image"][:, None] + (1 - fade[..., None]) * grain
    early = rise(0.2, 1, 3)[:, None, None]
    guess = early[..., None] * stack["image"][:, None] + (1 - early[..., None]) * stack["image"].mean(0)
    coords = {"sample": ids}
    labels = {t: xr.DataArray(stack[t].astype("f4"), dims=("sample", "Y", "X"), coords=coords) for t in METRICS}

    def reading(target: str, weight: np.ndarray) -> xr.DataArray:
        values = weight * np.nan_to_num(stack[target][:, None]) + (1 - weight) * grain[..., 0]
        return xr.DataArray(values.astype("f4"), dims=("sample", "step", "Y", "X"), coords=coords)

    def predict(target: str, module: str, step: int) -> xr.DataArray:
        side = SIZES[MODULES.index(module)]
        cells = np.nan_to_num(stack[target]).reshape(count, side, SIDE // side, side, SIDE // side).mean((2, 4))
        weight = rise(0.3, 0.95, 1)[step]
        values = weight * cells + (1 - weight) * np.random.default_rng(step).uniform(0, 1, cells.shape)
        return xr.DataArray(values, dims=("sample", "y", "x"), coords=coords)

    def pictures(values: np.ndarray) -> np.ndarray:
        return (np.clip(values, 0, 1) * 255).astype(np.uint8)

    strip = ("sample", "step", "Y", "X", "rgb")
    prompt = {i: f"a large red ball on a plane, number {i}" for i in range(count)} | (prompts or {})
    return ReportData(
        grid=make_grid(ids, rng),
        samples=pd.DataFrame(
            {"prompt_id": range(count), "prompt": list(prompt.values())[:count], "seed": 7, "split": "test"},
            index=pd.Index(ids, name="sample_id"),
        ),
        image=xr.DataArray(pictures(stack["image"]), dims=("sample", "Y", "X", "rgb"), coords=coords),
        noisy=xr.DataArray(pictures(blend), dims=strip, coords=coords).chunk({"sample": 1}),
        predicted=xr.DataArray(pictures(guess), dims=strip, coords=coords),
        labels=labels,
        intermediate={("noisy", t): reading(t, fade) for t in METRICS}
        | {("predicted", t): reading(t, early) for t in METRICS},
        predict=predict,
        provenance={
            **real_provenance(),
            "command": "ldmscene run manifests/demo.csv --model tiny-scenes --steps 15",
            "note": "<b>not bold</b>",
        },
        transfer={target: moves(0.6 + 0.1 * i) for i, target in enumerate(METRICS)},
    )  # fmt: skip


@functools.cache
def real_provenance() -> dict[str, object]:
    """What a report on a store is told: by the functions that tell it, of a store without samples."""
    config = {
        "pipeline": "StableDiffusionPipeline", "branches": ["cond"], "steps": STEPS, "guidance_scale": 7.5,
        "components": {"unet": {"class": "UNet2DConditionModel", "weights": "943bbe5e4865b33f"}},
        "scheduler": {"class": "LMSDiscreteScheduler", "prediction_type": "v_prediction"},
    }  # fmt: skip
    manifest = read_manifest([(f"prompt {i}", i) for i in range(8)])
    with tempfile.TemporaryDirectory() as folder:
        store = prepare_store(folder, config, manifest, [], range(STEPS), [], list, model="tiny-scenes")
        labels = {target: {"kind": "continuous", "labeler": f"tiny-{target}"} for target in METRICS}
        made_from = {
            "data": {"labels": labels},
            "kind": {"probe": "ridge", "version": 1},
            "cv": 5,
            "held_out": "test",
            "alphas": [0.1, 1.0],
        }
        return about(store) | provenance(store, made_from, None)


def repeated(data: ReportData, times: int) -> ReportData:
    """A report of the same samples several times over, each time under other ids."""
    ids = [f"{i:03d}" for i in range(times * len(data.samples))]

    def again(array: xr.DataArray) -> xr.DataArray:
        return xr.concat([array.drop_vars("sample")] * times, "sample").assign_coords(sample=ids)

    samples = pd.concat([data.samples] * times).set_axis(pd.Index(ids, name="sample_id"))
    grid = xr.concat([data.grid.drop_vars("sample")] * times, "sample", data_vars="minimal")
    assert data.noisy is not None
    assert data.predicted is not None
    return replace(
        data,
        grid=grid.assign_coords(sample=ids),
        samples=samples,
        image=again(data.image),
        noisy=again(data.noisy),
        predicted=again(data.predicted),
        labels={target: again(label) for target, label in data.labels.items()},
        intermediate={key: again(reading) for key, reading in data.intermediate.items()},
        predict=lambda *cell: again(data.predict(*cell)),
    )


def with_steps(data: ReportData, chosen: list[int], named: list[int] | None = None) -> ReportData:
    """A report whose steps are those at these positions, under their own or other names."""
    names = [data.steps[i] for i in chosen] if named is None else named
    held = dict(zip(names, (data.steps[i] for i in chosen), strict=True))
    assert data.noisy is not None
    assert data.predicted is not None
    return replace(
        data,
        grid=data.grid.isel(step=chosen).assign_coords(step=names),
        noisy=data.noisy.isel(step=chosen),
        predicted=data.predicted.isel(step=chosen),
        intermediate={key: reading.isel(step=chosen) for key, reading in data.intermediate.items()},
        predict=lambda target, module, step: data.predict(target, module, held[step]),
    )


@pytest.fixture(scope="session")
def data() -> ReportData:
    """Twelve samples, four of them with hostile prompts."""
    return make_data(prompts=PROMPTS)


@pytest.fixture(scope="session")
def small(data: ReportData) -> ReportData:
    """One target of two samples, from a grid that scores all twelve."""
    some = data.samples.index[[3, 7]]
    pictures = {name: getattr(data, name).sel(sample=some) for name in ("image", "noisy", "predicted")}
    return replace(
        data,
        grid=data.grid.sel(target=["depth"]),
        samples=data.samples.loc[some],
        labels={"depth": data.labels["depth"].sel(sample=some)},
        transfer={"depth": data.transfer["depth"]},
        intermediate={k: v.sel(sample=some) for k, v in data.intermediate.items() if k[1] == "depth"},
        predict=lambda *cell: data.predict(*cell).sel(sample=some),
        **pictures,
    )


@pytest.fixture(scope="session")
def site(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site that is made from `data`."""
    return write_site(data, tmp_path_factory.mktemp("site")).parent
