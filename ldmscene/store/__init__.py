"""Zarr, Parquet and the ledger: how a store is laid out, written and read."""

from ldmscene.store.layout import ArraySpec
from ldmscene.store.store import ActivationStore
from ldmscene.store.writer import Row, StoreWriter

__all__ = ["ActivationStore", "ArraySpec", "Row", "StoreWriter"]
