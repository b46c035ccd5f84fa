"""How `tiny-scenes` and its labelers were made: `python -m ldmscene.testbed.train`."""
