"""What other packages add: presets; metrics, labelers and kinds of probe, on a store that was evaluated before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import ldmscene
from ldmscene import capture, parameters
from ldmscene import grid as grids
from ldmscene.errors import InputError
from ldmscene.labelers import LABELERS, LabelerEntry
from ldmscene.metrics import METRICS, Metric, Pairs
from ldmscene.presets import PRESETS, Preset
from ldmscene.registry import Registry
from tests.conftest import LAST, bare_copy
from tests.test_cli import call

ARGUMENTS = {"modules": LAST, "steps": [1, 3], "alphas": (1e1, 1e3), "cv": 3}


@pytest.fixture
def evaluated(store, tmp_path):
    copy = bare_copy(store, tmp_path / "copy")
    return copy, ldmscene.evaluate(copy, "depth", **ARGUMENTS)


def _bias(pairs: Pairs) -> np.ndarray:
    return np.abs(pairs.mean_p - pairs.mean_y)


BIAS = Metric("bias", Pairs.of, _bias, Pairs.never, kind="continuous", needs="value", higher_is_better=False)


def test_a_metric_from_outside_scores_a_store_that_was_evaluated_before(evaluated, monkeypatch):
    store, before = evaluated
    monkeypatch.setattr(METRICS, "_values", dict(METRICS))
    METRICS.register(BIAS)
    found = ldmscene.evaluate(store, "depth", **ARGUMENTS)
    assert set(found["metric"].values) == {*before["metric"].values, "bias"}
    assert not found["higher_is_better"].sel(metric="bias")
    np.testing.assert_array_equal(found["probe"].sel(metric="rmse"), before["probe"].sel(metric="rmse"))

    labels, cell = store.labels("depth", "test").values, found.sel(target="depth", step=3).squeeze("module")
    maps = store.activations(LAST, 3, "test").values.astype(float) @ cell["coef"].values + float(cell["intercept"])
    expected = np.abs(maps.mean((1, 2)) - labels.mean((1, 2)))
    np.testing.assert_allclose(cell["probe"].sel(metric="bias"), expected, atol=1e-6)
    mean = store.labels("depth", "train").values.mean()
    reading = found["baseline"].sel(reading=grids.MEAN_LABEL, target="depth", metric="bias", step=1)
    np.testing.assert_allclose(reading, np.abs(mean - labels.mean((1, 2))), atol=1e-6)


def test_a_metric_that_changed_scores_anew(evaluated, monkeypatch):
    store, _ = evaluated
    monkeypatch.setattr(METRICS, "_values", dict(METRICS))
    METRICS.register(BIAS)
    first = ldmscene.evaluate(store, "depth", **ARGUMENTS)
    changed = Metric("bias", Pairs.of, lambda p: 2 * _bias(p), Pairs.never, "continuous", "value", version=2)
    monkeypatch.setitem(METRICS._values, "bias", changed)
    again = ldmscene.evaluate(store, "depth", **ARGUMENTS)
    for name in ("probe", "baseline"):
        np.testing.assert_allclose(again[name].sel(metric="bias"), 2 * first[name].sel(metric="bias"), rtol=1e-6)


class Redness:
    provenance = {"labeler": "redness", "kind": "continuous", "metric": "r2"}  # noqa: RUF012

    def __call__(self, images):
        return images[..., 0] / 255


def test_a_labeler_from_outside_labels_a_store_that_was_evaluated_before(evaluated, monkeypatch):
    store, before = evaluated
    monkeypatch.setattr(LABELERS, "_values", dict(LABELERS))
    LABELERS.register(LabelerEntry("redness", lambda argument, device: Redness()))
    code, _, err = call("label", store.root, "red", "redness")
    assert code == 0, err
    store.refresh()
    np.testing.assert_allclose(store.labels("red"), store.images().values[..., 0] / 255, rtol=1e-6)
    found = ldmscene.evaluate(store, ["depth", "red"], **ARGUMENTS)
    assert found["primary"].values.tolist() == ["spearman", "r2"]
    depth, known = (one["probe"].sel(target="depth", metric="rmse") for one in (found, before))
    np.testing.assert_allclose(depth, known, rtol=1e-6)


def test_a_preset_from_outside_names_modules_wherever_one_may_be_asked_for(tiny, monkeypatch):
    monkeypatch.setattr(PRESETS, "_values", dict(PRESETS))
    PRESETS.register(Preset("entrance", r"conv_(in|out)"))
    assert capture.find_modules(tiny.unet, ["entrance"]) == ["conv_in", "conv_out"]
    assert "entrance" in capture.presets_in(tiny.unet)
    assert parameters.presets()[-1] == "entrance"
    assert [row["module"] for row in ldmscene.list_modules(tiny, "entrance")] == ["conv_in", "conv_out"]


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(InputError, match="metric: expected a new name, got 'rmse'"):
        METRICS.register(Metric("rmse", Pairs.of, _bias, Pairs.never, "continuous", "value"))
    assert METRICS["rmse"].version == 1


PLUGIN = """
from ldmscene.evaluation.ridge import Ridge
from ldmscene.labelers import LabelerEntry
from ldmscene.metrics import Metric, Pairs

from ldmscene.presets import Preset

class Other(Ridge):
    name = "other"

probe = Other()
labeler = LabelerEntry("brightness", lambda argument, device: None, argument="FOLDER")
preset = Preset("entrance", "conv_in")
metric = Metric("count", Pairs.of, lambda pairs: pairs.count, Pairs.never, "continuous", "value")
"""
POINTS = """
[ldmscene.labelers]
brightness = plugin:labeler
[ldmscene.metrics]
count = plugin:metric
broken = plugin:nothing_like_it
[ldmscene.presets]
entrance = plugin:preset
[ldmscene.probes]
other = plugin:probe
"""
_LOOK = """
import json, sys, warnings
import ldmscene.calls.evaluate, ldmscene.calls.label, ldmscene.calls.recognition
from ldmscene.evaluation.kinds import KINDS
from ldmscene.labelers import LABELERS
from ldmscene.metrics import METRICS
from ldmscene.presets import PRESETS
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    names = [list(KINDS), list(LABELERS), list(METRICS), list(PRESETS)]
heavy = [m for m in ("torch", "diffusers", "transformers", "matplotlib") if m in sys.modules]
print(json.dumps([*names, [str(one.message) for one in said], heavy]))
"""


def test_entry_points_add_what_a_package_has_and_one_that_is_broken_is_left_out(tmp_path):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    info = tmp_path / "plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text(POINTS)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_LOOK)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    kinds, labelers, metrics, presets, said, heavy = json.loads(done.stdout)
    assert kinds[-1] == "other"
    assert labelers[-1] == "brightness"
    assert metrics[-1] == "count"
    assert presets[-1] == "entrance"
    assert len(said) == 1
    assert "metric 'broken' of plugin:nothing_like_it is left out" in said[0]
    assert heavy == []


def test_a_registry_reads_its_entry_points_once(monkeypatch):
    asked = []
    monkeypatch.setattr("ldmscene.registry.entry_points", lambda group: asked.append(group) or [])
    found: Registry = Registry("colour", "ldmscene.colours")
    assert list(found) == []
    assert found.get("red") is None
    assert "red" not in found
    assert asked == ["ldmscene.colours"]
