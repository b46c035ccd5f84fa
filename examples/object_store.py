"""A store in an S3 bucket: the same calls, another place. Needs `python -m pip install '.[s3]'` in the clone.

    AWS_ENDPOINT_URL=… AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… python examples/object_store.py s3://bucket/prefix

Endpoint and credentials come from the usual environment variables. xarray reads the store, too, without ldmscene.
"""

import sys
from pathlib import Path

import xarray as xr
from obstore.store import S3Store
from zarr.storage import ObjectStore

import ldmscene

PROMPTS = Path(__file__).with_name("prompts.csv")
MODULE = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"

where = sys.argv[1]
store = ldmscene.extract("tiny-scenes", PROMPTS, where, MODULE, steps=2, batch_size=8)
ldmscene.label(store, "mask", "tiny-mask")
print(store)
print(f"faults: {ldmscene.verify(store)}")
print(ldmscene.evaluate(store).to_dataframe().xs("dice", level="metric")["probe"].round(2).to_string())

bucket = S3Store.from_url(f"{where.rstrip('/')}/activations.zarr", client_options={"allow_http": True})
tree = xr.open_datatree(ObjectStore(bucket, read_only=True), engine="zarr", consolidated=False)
print(tree["labels"]["mask"])
