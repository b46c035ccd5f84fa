"""What verbs print, for people or for a script."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldmscene.progress import say
from ldmscene.text import printable

if TYPE_CHECKING:
    from ldmscene.store import ActivationStore
    from ldmscene.table import Grid


def print_json(value: Any, default: Callable[[Any], Any] | None = None) -> None:
    """One line that every reader of JSON takes: null where a number is infinite or NaN; `default` is `json`'s own."""
    print(json.dumps(_finite(value), allow_nan=False, default=default), flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_extraction(result: ActivationStore | dict[str, Any], as_json: bool) -> None:
    """A store, or what a dry run foretells of one."""
    if isinstance(result, dict):
        print_estimate(result, as_json)
    else:
        print_info(result, as_json)


def print_estimate(estimate: dict[str, Any], as_json: bool) -> None:
    from ldmscene import terminal

    if as_json:
        print_json(estimate)
    else:
        terminal.show(terminal.estimate_table(estimate), "What it would take")


def print_info(store: ActivationStore, as_json: bool) -> None:
    from ldmscene import terminal

    if as_json:
        print_json(terminal.info(store))
    else:
        terminal.show(terminal.info_table(store), terminal.info_title(store))


def print_grid(grid: Grid, as_json: bool) -> None:
    from ldmscene import terminal
    from ldmscene.conclusions import sentence

    if as_json:
        print_json(terminal.grid_rows(grid))
        return
    console = terminal.console()
    console.print(*terminal.grid_tables(grid, console.width), sep="\n")
    console.print(terminal.legend(grid))
    for target in grid["target"].values:
        console.print(sentence(grid, str(target)))


def print_page(page: Path, as_json: bool = False) -> None:
    if as_json:
        print_json({"page": str(page)})
    else:
        say(f"report: {page}")


def print_faults(faults: Sequence[object]) -> None:
    for fault in faults:
        print(printable(str(fault)))
