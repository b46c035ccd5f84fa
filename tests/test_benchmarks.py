"""Benchmarks run, untimed in spirit, so that they can't rot."""

from __future__ import annotations

import json
import re
import statistics
import sys

import click
import pytest

import ldmscene
from benchmarks import evaluate, gpu, harness, report
from benchmarks import rows as rows_benchmark
from benchmarks import store as store_benchmark
from benchmarks.synthetic import MODULE, make_store
from ldmscene.calls import statistics as of_statistics
from ldmscene.evaluation import on_device
from ldmscene.evaluation.features import ModuleOutput
from ldmscene.store.layout import activation_path


def test_the_store_benchmark_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness.save, "__defaults__", (tmp_path,))
    monkeypatch.setattr(sys, "argv", ["store", "--quick", "--folder", str(tmp_path)])
    store_benchmark.main()
    assert "TensorStore" in capsys.readouterr().out
    names = {path.stem for path in tmp_path.glob("*.json")}
    assert {"store-ledger", "store-extensions", "store-write-mid_block", "store-read-cached-mid_block"} <= names
    kept = json.loads((tmp_path / "store-ledger.json").read_text())
    assert kept["machine"]["cores"] >= 1
    assert kept["rows"][0]["ledger rows"] == 180


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset's tar files
def test_the_rows_benchmark_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness.save, "__defaults__", (tmp_path,))
    monkeypatch.setattr(sys, "argv", ["rows", "--quick", "--folder", str(tmp_path)])
    rows_benchmark.main()
    assert "webdataset" in capsys.readouterr().out
    mixed = json.loads((tmp_path / "rows-mixing.json").read_text())["rows"]
    ratios = [row["measured ÷ ideal"] for row in mixed]
    assert ratios == sorted(ratios, reverse=True)  # the more memory, the better
    assert ratios[-1] < 1


def test_the_reports_benchmark_says_the_median_and_what_a_report_weighs(store, tmp_path, monkeypatch, capsys):
    def measure(ways, rounds):
        return {name: way() and [1.0, 2.0, 9.0] for name, way in ways.items()}

    monkeypatch.setattr(harness.save, "__defaults__", (tmp_path,))
    monkeypatch.setattr(harness, "measure", measure)
    report.main(str(store.root))
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    page = ldmscene.write_report(store, ldmscene.evaluate(store), tmp_path / "again")
    size = sum(path.stat().st_size for path in page.parent.rglob("*") if path.is_file())
    assert {row["what"]: row["measured"] for row in rows} == {"seconds": 2.0, "MB": pytest.approx(size / 1e6, abs=0.1)}


def test_ways_take_turns_and_ratios_are_of_medians():
    order: list[str] = []
    seconds = harness.measure({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert order == ["a", "b"] * 4
    assert [len(values) for values in seconds.values()] == [3, 3]
    a, b = harness.compare({"a": [1.0, 2.0, 9.0], "b": [4.0, 4.0, 4.0]}, "a", GB=8.0)
    assert (a["GB/s"], b["GB/s"]) == (4.0, 2.0)
    assert b["speed ÷ a"] == pytest.approx(statistics.median([1, 2, 9]) / 4)


def test_a_synthetic_store_is_one_that_readers_admit(tmp_path):
    store = make_store(tmp_path / "store", 6, channels=4, grid=8, side=32)
    assert ldmscene.verify(store) == []
    assert store.labels("mask").shape == (6, 32, 32)
    assert store.activations(MODULE, step=0).sizes["channel"] == 4


def test_the_bounds_of_evaluate_are_measured_anew_each_time(tmp_path, monkeypatch):
    read, reads = ModuleOutput.read, []
    monkeypatch.setattr(ModuleOutput, "read", lambda self, *of: reads.append(self.step) or read(self, *of))
    first, again = evaluate.bounds(tmp_path, 18, 8, 4, 32)
    assert (first["against"], again["note"]) == ("the larger of reading and syrk", "no activation is read")
    rounds, blocks, samples = 4, 5 + 1, 18
    assert len(reads) == 1 + rounds * evaluate.STEPS * (blocks + samples)  # none where statistics were there


def test_the_gpus_benchmark_runs_on_the_processor(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness.save, "__defaults__", (tmp_path,))
    asked, on, evaluated = [[]], on_device.on, ldmscene.evaluate
    monkeypatch.setattr(on_device, "on", lambda device, X: asked[-1].append(device) or on(device, X))
    monkeypatch.setattr(ldmscene, "evaluate", lambda *a, **how: asked.append([]) or evaluated(*a, **how))
    checked = []
    monkeypatch.setattr(of_statistics, "check_unchanged", lambda *_: checked.append("the model"))
    gpu.main(["--tiny"], standalone_mode=False)
    assert checked == []  # a way that asked for the model's answers would be slower than those beside it
    # On the CPU, on the device, and end to end on the device: each sums anew.
    assert [set(devices) for devices in asked[1:]] == [set(), {"cpu"}, {"cpu"}]
    assert "as statistics" in capsys.readouterr().out
    rows = {row["what"]: row for row in json.loads((tmp_path / "gpu.json").read_text())["rows"]}
    assert len(rows) == 9
    for what in ("reading alone", "evaluate on the CPU", "evaluate on cpu"):
        assert re.match(r"\d+\.\d\d GB/s", rows[what]["figure"])
    assert rows["a picture against another hook"]["figure"] == "0.0e+00"
    apart = float(rows["evaluate on cpu"]["note"].removeprefix("scores apart by ").removesuffix(" at most"))
    assert 0 <= apart < 1e-5  # scores are stored as float32, in which all of a small grid may be equal


def test_what_reading_is_timed_by_reads_every_activation_of_its_steps_once(store):
    sizes = [store.info(activation_path(name)).layout.chunk_bytes for name in store.modules]
    assert gpu.read_all(store, [0, 2]) == 2 * len(store.samples) * sum(sizes)


def test_the_gpus_benchmark_wants_a_folder_that_is_there(tmp_path):
    with pytest.raises(click.BadParameter, match="does not exist"):
        gpu.main(["--tiny", "--folder", str(tmp_path / "none")], standalone_mode=False)
