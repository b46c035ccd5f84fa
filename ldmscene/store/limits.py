"""How much is read at once of what may be of any length."""

MOST = 2**28  # bytes of a file that is read whole, where nothing else says; a publication of a million samples is less
