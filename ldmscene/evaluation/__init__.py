"""From activations and labels to a grid of scores. Nothing here knows how activations are captured."""
