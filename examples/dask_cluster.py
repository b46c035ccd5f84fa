"""A cluster: each worker loads a pipeline and fills a part of the store, then all of them fit probes.

Here a cluster of two processes on this machine; `Client("scheduler:8786")` takes any other. Workers must see the store
and the model under the same names. Needs `python -m pip install '.[cluster]'` in the clone.
"""

from pathlib import Path

from dask.distributed import Client, LocalCluster

import ldmscene

PROMPTS = Path(__file__).with_name("prompts.csv").resolve()

if __name__ == "__main__":  # workers import this file
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        store = ldmscene.extract(
            "tiny-scenes", PROMPTS, Path("stores/example-cluster").resolve(), "up_blocks.3.*attn1.to_out.0",
            steps=2, batch_size=4, client=client,
        )  # fmt: skip
        ldmscene.label(store, "mask", "tiny-mask")
        grid = ldmscene.evaluate(store, client=client)
    print(store)
    print(grid.to_dataframe().xs("dice", level="metric")["probe"].unstack("step").round(2).to_string())
