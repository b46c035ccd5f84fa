"""The second world: solids and blocks in rooms and on open ground, seen by cameras of every kind."""
