"""The stages of the path, one file each; `ldmscene.pipeline` strings them together."""
