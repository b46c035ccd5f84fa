"""A script: a training of two epochs that notes each batch, goes on from its notes, and may kill itself."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
import zlib
from pathlib import Path

from torch.utils.data import DataLoader

import ldmscene
from tests.rows.conftest import FINE


def note(batch: dict) -> str:
    """The state, then a checksum of what was served."""
    return f"{json.dumps(batch['state'])}\t{zlib.crc32(batch['x'].numpy().tobytes())}"


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    root, notes, workers, kill_after = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    rows = ldmscene.open(root).torch_dataset(FINE, batch=100, memory=20_000)
    done = notes.read_text().splitlines() if notes.exists() else []
    if done:
        rows.load_state_dict(json.loads(done[-1].partition("\t")[0]))
    while len(done) < 2 * len(rows):
        for batch in DataLoader(rows, batch_size=None, num_workers=workers):
            done.append(note(batch))
            with notes.open("a") as file:
                file.write(done[-1] + "\n")
            kill_after -= 1
            if kill_after == 0:
                os.kill(os.getpid(), signal.SIGKILL)
