"""The edit of a page as JSON, and as the Python that draws the same."""

from __future__ import annotations

import textwrap
from importlib.metadata import version
from itertools import groupby
from typing import Any

import numpy as np

from ldmscene import testbed
from ldmscene.painting import runs
from ldmscene.painting.asked import Asked, Change
from ldmscene.painting.judges import wanted_map
from ldmscene.painting.offer import Offer
from ldmscene.store import ActivationStore

WIDTH = 100  # characters of a line of numbers
_SCRIPT = '''"""What was painted, drawn again by ldmscene {version}."""

import numpy as np
import torch

import ldmscene
from ldmscene import capture{testbed}

grid = ldmscene.evaluate({store})

# The wanted map, row by row: so many pixels of each value; NaN is left alone.
nan = np.nan
lengths = [
{lengths}
]
values = [
{values}
]
wanted = np.repeat(np.array(values, np.float32), lengths).reshape({shape})

edit = ldmscene.Edit.of(
    grid,
    {target},
    wanted=wanted,
    modules={modules},
    steps={steps},
    rule={rule},
    strength={strength},
)
pipeline = capture.load_pipeline({model})
prompt, seed = {prompt}, {seed}
with capture.with_scheduler(pipeline, {scheduler}), ldmscene.editing(pipeline, edit, prompt=prompt, seed=seed):
    picture = pipeline(
        prompt,
        generator=torch.Generator("cpu").manual_seed(seed),
        num_inference_steps={count},
        guidance_scale={guidance},
        negative_prompt={negative},
        height={height},
        width={width},
    ).images[0]
picture.save("drawn.png")
'''


def script_of(store: ActivationStore, asked: Asked, change: Change, offer: Offer, fingerprint: str) -> dict[str, Any]:
    """`edit`: what was asked for, as JSON has it, with the edit's fingerprint; `python`: a script that draws it."""
    words = {
        "prompt": asked.prompt,
        "seed": str(asked.seed),
        "store": str(store.root),
        "fingerprint": fingerprint,
        "target": change.target,
        "wanted": runs.encode(change.levels),
        "rule": change.rule,
        "strength": change.strength,
        "modules": list(change.modules),
        "steps": list(change.steps),
    }
    return {"edit": words, "python": _python(store, asked, change, wanted_map(change, offer))}


def _python(store: ActivationStore, asked: Asked, change: Change, wanted: np.ndarray) -> str:
    lengths, values = _run_lengths(wanted)
    embedded = store.model in testbed.MODELS
    words = {name: getattr(change, name) for name in ("target", "rule", "strength")}
    words |= {"modules": list(change.modules), "steps": list(change.steps), "shape": wanted.shape}
    words |= {"store": str(store.root), "prompt": asked.prompt, "seed": asked.seed, "count": store.config["steps"]}
    words |= {"scheduler": store.config["scheduler"]["class"], "guidance": store.config["guidance_scale"]}
    words |= {"negative": store.config["negative_prompt"] or None}
    words |= {side: store.config[side] for side in ("height", "width")}
    said = {
        name: ascii(value) for name, value in words.items()
    }  # ascii: whatever a prompt holds stays inside its quotes
    model = f"testbed.MODELS[{store.model!a}]" if embedded else ascii(store.model)
    return _SCRIPT.format(
        version=version("ldmscene"), testbed=", testbed" if embedded else "", model=model,
        lengths=_lines(lengths), values=_lines(values), **said,
    )  # fmt: skip


def _run_lengths(wanted: np.ndarray) -> tuple[list[str], list[str]]:
    found = [(str(len(list(run))), value) for value, run in groupby(map(_number, wanted.ravel().tolist()))]
    return [length for length, _ in found], [value for _, value in found]


def _number(value: float) -> str:
    return "nan" if np.isnan(value) else f"{value:.9g}"  # nine digits are all that float32 has


def _lines(numbers: list[str]) -> str:
    return "\n".join(textwrap.wrap(", ".join(numbers) + ",", WIDTH, initial_indent="    ", subsequent_indent="    "))
