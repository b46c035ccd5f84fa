"""A probe of your own: anything with scikit-learn's fit and predict, on activations that dask reads from the store.

Here principal components before a gradient-boosted tree, against the ridge that `evaluate` fits: is depth there in a
form that no linear probe sees?
"""

from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline

import ldmscene

PROMPTS = Path(__file__).with_name("prompts.csv")
MODULE = "up_blocks.2.attentions.1.transformer_blocks.0.attn1.to_out.0"

store = ldmscene.extract(
    "tiny-scenes", PROMPTS, "stores/example-probe", MODULE, steps=4, guidance_scale=3.0, batch_size=8
)
ldmscene.label(store, "depth", "tiny-depth")

y, y_test = (store.labels("depth", split) for split in ("train", "test"))


def score(maps: np.ndarray) -> float:
    """Mean Spearman over held-out images."""
    return np.mean(
        [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(np.asarray(maps), y_test.values, strict=True)]
    )


for step in store.steps:
    X, X_test = (store.activations(MODULE, step, split) for split in ("train", "test"))
    ridge = ldmscene.RidgeProbe(cv=5).fit(X, y, groups=X["prompt"])

    # A table for scikit-learn: one row for each cell, with its mean label.
    side, factor = X.sizes["y"], y.sizes["Y"] // X.sizes["y"]
    cells = y.coarsen(Y=factor, X=factor).mean()
    trees = make_pipeline(PCA(16), HistGradientBoostingRegressor(random_state=0))
    trees.fit(X.values.reshape(-1, X.sizes["channel"]).astype(np.float32), cells.values.ravel())
    guess = trees.predict(X_test.values.reshape(-1, X.sizes["channel"]).astype(np.float32))
    maps = guess.reshape(-1, side, side).repeat(factor, 1).repeat(factor, 2)
    print(f"step {step}: Spearman of the ridge {score(ridge.predict(X_test)):.2f}, of trees {score(maps):.2f}")
