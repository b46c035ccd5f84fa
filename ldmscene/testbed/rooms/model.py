"""What the second world's model has of its own: its words, and the nets that read its pictures.

The rest is the first model's architecture.
"""

from __future__ import annotations

from transformers import CLIPTokenizer

from ldmscene.testbed.model import tokenizer_of
from ldmscene.testbed.nets import MAPS, MapNet
from ldmscene.testbed.rooms.words import vocabulary

TOKENS = 48
WIDTHS = (32, 64, 96, 128, 128)  # of nets that read pictures: down to 2 × 2, since depth is told by the whole room


def build_tokenizer() -> CLIPTokenizer:
    """One token for every word of the captions."""
    return tokenizer_of(vocabulary(), TOKENS)


def build_reader(maps: int = MAPS) -> MapNet:
    """A net that reads pictures of this world."""
    return MapNet(maps, WIDTHS)
