"""A sparse autoencoder on rows that the store shuffles: 4 of 256 features at a time, against 4 principal components.

Both are fitted to training prompts and judged on held-out prompts (Gao et al. 2024, "Scaling and evaluating sparse
autoencoders", for the activation that keeps the largest features).
"""

from pathlib import Path

import torch

import ldmscene

PROMPTS = Path(__file__).with_name("prompts.csv")
MODULE = "up_blocks.3.attentions.2.transformer_blocks.0.attn1.to_out.0"
FEATURES, ACTIVE, EPOCHS = 256, 4, 40

store = ldmscene.extract("tiny-scenes", PROMPTS, "stores/example-rows", MODULE, steps=4, batch_size=8)
rows = store.torch_dataset(MODULE, batch=1024, normalize="standard")
held_out = torch.cat([batch["x"] for batch in store.torch_dataset(MODULE, split="test", normalize="standard")])

torch.manual_seed(0)
channels = held_out.shape[1]
decoder = torch.nn.Linear(FEATURES, channels)
encoder = torch.nn.Linear(channels, FEATURES)
encoder.weight.data = decoder.weight.data.T.clone()
optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-3)


def encode(x: torch.Tensor) -> torch.Tensor:
    """The largest features of each row, the others zero."""
    features = encoder(x).relu()
    largest = features.topk(ACTIVE, dim=1)
    return torch.zeros_like(features).scatter(1, largest.indices, largest.values)


def explained(x: torch.Tensor, guess: torch.Tensor) -> float:
    """The share of the variance, over all channels."""
    return 1 - ((x - guess) ** 2).sum().item() / ((x - x.mean(0)) ** 2).sum().item()


for _ in range(EPOCHS):
    for batch in rows:  # the next iteration is the next epoch, in an order of its own
        loss = (decoder(encode(batch["x"])) - batch["x"]).pow(2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

with torch.no_grad():
    features = encode(held_out)
    sparse = explained(held_out, decoder(features))
    train = torch.cat([batch["x"] for batch in rows])
    axes = torch.linalg.svd(train - train.mean(0), full_matrices=False).Vh[:ACTIVE]
    linear = explained(held_out, (held_out - train.mean(0)) @ axes.T @ axes + train.mean(0))
    silent = (features == 0).all(0).float().mean().item()

print(
    f"held-out variance explained: {sparse:.3f} by {ACTIVE} of {FEATURES} features, {linear:.3f} by {ACTIVE} principal "
    f"components; {silent:.0%} of the features are silent; loss {loss.item():.3f}"
)
