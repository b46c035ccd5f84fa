"""From probes to edits, from edits to edited stores, and what came of it."""
