"""What the second world's model has of its own: its words. The rest is the first model's architecture."""

from __future__ import annotations

from transformers import CLIPTokenizer

from ldmscene.testbed.model import tokenizer_of
from ldmscene.testbed.rooms.words import vocabulary

TOKENS = 48


def build_tokenizer() -> CLIPTokenizer:
    """One token for every word of the captions."""
    return tokenizer_of(vocabulary(), TOKENS)
