"""The public calls, and what several of them share. They alone see several parts.

manifest ─► extract ─► store ─► label ─► evaluate ─► report
"""
