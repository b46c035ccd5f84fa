"""What people are told on stderr: messages always, progress where there is a terminal or a notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ldmscene.text import printable

NOTEBOOK_WIDTH = 100
_shown: list[Progress] = []  # the display on the screen; a bar within a bar adds a line to it


def say(message: str) -> None:
    """Print a message as it stands, except for what would steer the terminal."""
    print(printable(message), file=sys.stderr)


class Advance(Protocol):
    """Report that some more of the work is done, and how many bytes that was."""

    def __call__(self, count: int = 1, size: float = 0) -> None: ...


@contextmanager
def bar(description: str, total: int, *, enabled: bool = True) -> Iterator[Advance]:
    """A bar on stderr with count, rate, bytes and remaining time; nothing where stderr is a pipe or a file."""
    with _display(enabled) as progress:
        within = bool(progress.tasks)
        task = progress.add_task(description, total=total, bytes=0.0)
        bytes_done = 0.0

        def advance(count: int = 1, size: float = 0) -> None:
            nonlocal bytes_done
            bytes_done += size
            progress.update(task, advance=count, bytes=bytes_done)

        try:
            yield advance
        finally:
            if within:
                progress.remove_task(task)


@contextmanager
def _display(enabled: bool) -> Iterator[Progress]:
    console = Console(stderr=True)
    notebook = console.is_jupyter
    if not enabled or not (notebook or sys.stderr.isatty()):
        yield Progress(disable=True)
        return
    if _shown:  # a notebook can't go up a line
        yield Progress(disable=True) if notebook else _shown[0]
        return
    if notebook:  # as text, which every notebook shows; rich's own way needs ipywidgets
        console = Console(stderr=True, force_jupyter=False, force_terminal=True, width=NOTEBOOK_WIDTH)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        _Bytes(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        _shown.append(progress)
        try:
            yield progress
        finally:
            _shown.clear()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "")


class _Bytes(ProgressColumn):
    def render(self, task: Task) -> Text:
        done = task.fields["bytes"]
        return Text(decimal(int(done)) if done else "")
