"""A report's time and size.

python -m benchmarks.report [STORE]      after `make demo`; the demo's store where not given
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console

import ldmscene
from benchmarks import harness

AIM = {"seconds": 4.0, "MB": 15.0}


def measured(store: str) -> list[dict]:
    """Seconds from grid to page, figures included, and what the folder weighs."""
    control = Path(f"{store}-permuted")
    grid = ldmscene.evaluate(store, permuted=control if control.exists() else None, progress=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "report"
        ways = {"report": lambda: ldmscene.write_report(store, grid, folder, progress=False)}
        seconds = statistics.median(harness.measure(ways, rounds=3)["report"])
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    found = {"seconds": round(seconds, 1), "MB": round(size / 1e6, 1)}
    return [{"what": what, "measured": value, "aim": AIM[what]} for what, value in found.items()]


def main(store: str = "stores/demo") -> None:
    rows = measured(store)
    harness.save("report", rows)
    Console().print(harness.table(rows, f"report of {store}"))


if __name__ == "__main__":
    main(*sys.argv[1:])
