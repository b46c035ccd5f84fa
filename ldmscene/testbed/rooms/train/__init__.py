"""How the second world's model is made: `python -m ldmscene.testbed.rooms.train`."""
