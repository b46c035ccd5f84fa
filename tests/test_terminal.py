"""Tables fit the terminal, and nothing that somebody wants to copy is cut."""

from __future__ import annotations

import io

import pandas as pd
import pytest
import xarray as xr
from rich.console import Console

import ldmscene
from ldmscene import terminal
from ldmscene.conclusions import sentence
from ldmscene.store.layout import activation_path
from ldmscene.text import human_bytes
from tests.conftest import FIRST
from tests.test_conclusions import effects


@pytest.fixture(scope="module")
def grid(store) -> xr.Dataset:
    """Six targets, three of them by names of other lengths."""
    three = ldmscene.evaluate(store, modules=[FIRST], steps=[0, 3], alphas=(1e1, 1e3), cv=3)
    named = three.assign_coords(target=["brightness=0", "x", "a-name-as-long-as-names-get-when-nobody-stops-them"])
    return xr.concat([three, named], "target")


def _printed(width: int, *tables: object) -> list[str]:
    sink = io.StringIO()
    Console(file=sink, width=width, markup=False, highlight=False).print(*tables, sep="\n")
    return sink.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120, 250])
def test_scores_of_six_targets_fit_with_every_column_and_step(grid, width):
    lines = _printed(width, *terminal.grid_tables(grid, width))
    assert max(map(len, lines)) <= width
    numbers = [word for line in lines if "." in line for word in line.split()[1:]]
    rows = terminal.grid_rows(grid)
    names = ("probe", "labeler on x_t", "labeler on predicted x_0")
    wanted = [f"{round(100 * row[name])}" for row in rows for name in names]
    wanted += [f"{row[str(grid['primary'].sel(target=row['target'])[()].item())]:.2f}" for row in rows]
    assert sorted(numbers) == sorted(wanted)
    text = "".join("".join(lines).split())
    for target in map(str, grid["target"].values):
        assert target in text or width == 60
    tables = text.count("stepprobe")
    assert all(line.split()[0] in ("0", "3") for line in lines if "." in line)
    assert tables == {60: 6, 80: 4, 120: 3, 250: 1}[width]


def test_numbers_are_rounded_once_as_sentences_round_them() -> None:
    """25.496 % is 25 %, although it is 25.50 % in hundredths; and no zero is negative."""
    grid = effects([0.1, 0.25496], [0.0, 0.0], [-0.001, -0.001]).assign_coords(timestep=("step", [1, 0]))
    rounded = grid.assign(probe=xr.full_like(grid["probe"], -0.001))
    (row,) = [line.split() for line in _printed(100, *terminal.grid_tables(rounded, 100)) if line.split()[:1] == ["1"]]
    assert row == ["1", "25", "0", "0.00"]
    assert "explains 25 % of what" in sentence(rounded, "depth")
    assert terminal.grid_rows(rounded)[1]["probe"] == 0.255


def test_the_legend_has_the_number_of_what_is_known() -> None:
    grid = effects([0.3, 0.3], [0.0, 0.0], [0.0, 0.0])
    assert "in % of what position leaves unexplained" in terminal.legend(grid)
    both = grid.assign_attrs(beyond='["position", "mask"]')
    assert "in % of what position and mask leave unexplained" in terminal.legend(both)


@pytest.mark.parametrize("width", [40, 80, 100])
def test_names_of_modules_are_never_shortened(store, width):
    for table in (terminal.module_table(ldmscene.list_modules("tiny-scenes")), terminal.info_table(store)):
        lines = _printed(width, table)
        assert "…" not in "".join(lines)
        assert max(map(len, lines)) <= width
        if width == 100:
            assert set(store.modules) <= {line.split()[0] for line in lines if line.strip()}
        else:  # a name goes on in the next line
            column = "".join(line[: lines[0].index(lines[0].split()[-1]) or None].split(" ")[0] for line in lines)
            for module in store.modules:
                assert module in column


def test_a_pipe_gets_long_names_whole(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    name = "block." * 40
    row = {"module": name, "block": "decoder", "shape": (64, 64, 320), "bytes_per_step": 1}
    terminal.show(terminal.module_table([row]), "title")
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_gets_a_line_of_facts_below_each_name(store, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    terminal.show(terminal.info_table(store), terminal.info_title(store))
    title, *lines = capsys.readouterr().out.splitlines()
    assert store.fingerprint in title
    at = lines.index(FIRST)  # whole, so that it can be copied
    facts = " ".join(" ".join(lines[at + 1 : at + 3]).split())
    row = store.contents.set_index("array").loc[activation_path(FIRST)]
    assert facts.startswith(
        f"one sample {row['shape'].replace(' ', '')}, done 20, size {human_bytes(row['bytes'])}, NaN"
    )
    assert set(store.modules) < set(lines)
    assert all(len(line) <= width for line in lines if line.startswith(" "))


def test_an_effects_zero_has_no_sign_of_its_own():
    row = pd.Series({"mean": -1e-9, "low": -2e-9, "high": 1e-9})
    assert terminal._bounded(row, "mean", "low", "high") == "0.000 (0.000 to 0.000)"
    assert terminal._bounded(row, "mean", "low", "high", sign="+") == "+0.000 (+0.000 to +0.000)"
