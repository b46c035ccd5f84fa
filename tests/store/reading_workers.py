"""A script: reads a store in this process, then in a DataLoader's workers, started in the way that is named."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import ldmscene
from tests.store.worlds import MODULE


class Maps(Dataset):
    def __init__(self, root: str) -> None:
        self.store = ldmscene.open(root)

    def __len__(self) -> int:
        return len(self.store.manifest)

    def __getitem__(self, index: int) -> torch.Tensor:
        sample_id = self.store.manifest.frame["sample_id"].iloc[index]
        return torch.from_numpy(self.store.activations(MODULE, samples=[sample_id]).values[0])


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    maps = Maps(sys.argv[1])
    here = maps.store.activations(MODULE).values
    there = torch.stack(list(DataLoader(maps, batch_size=None, num_workers=2, multiprocessing_context=sys.argv[2])))
    np.testing.assert_array_equal(there, here)
    print(f"{len(there)} maps are the same")
