"""The public calls, one file each. They alone see several parts.

manifest ─► extract ─► store ─► label ─► evaluate ─► report
"""
