"""Types of numpy arrays by what they hold; shapes stand in the docstrings, such as [image, step]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]
AnyArray = NDArray[Any]
