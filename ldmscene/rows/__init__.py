"""Rows for trainers of dictionaries: positions of feature maps, shuffled within bounded memory, over torch's protocol.

A chunk is the maps of one (sample, step, branch), which lie together on disk. A window is as many chunks as may be in
memory. A row is one position of a chunk: a cell, or a token. Nothing here but `dataset` knows torch, and nothing at all
knows a store.
"""

from ldmscene.rows.source import Module, Source

__all__ = ["Module", "Source"]
