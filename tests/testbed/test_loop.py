"""The training loop: a killed run goes on as if nothing had happened."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ldmscene.testbed.train import loop

SCHEDULE = loop.Schedule(steps=100, learning_rate=1e-1, warmup=5, average=0.9)


def train(folder, *, killed_at: int | None = None) -> torch.Tensor:
    """Fit the sum of three numbers; the weights learnt."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)

    def loss(generator: torch.Generator) -> torch.Tensor:
        nonlocal killed_at
        killed_at = killed_at - 1 if killed_at is not None else None
        if killed_at == 0:
            raise KeyboardInterrupt
        x = torch.randn(64, 3, generator=generator)
        return ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()

    loop.fit(model, loss, SCHEDULE, folder / "sum.pt", seed=1)
    return model.weight.detach()


def test_a_killed_run_ends_where_an_unbroken_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", killed_at=17)
    assert torch.equal(train(tmp_path / "killed"), whole)
    assert torch.allclose(whole, torch.ones(1, 3), atol=0.1)
    assert "step 100 " in (tmp_path / "killed" / "sum.log").read_text()


def test_a_finished_run_isnt_trained_again(tmp_path):
    whole = train(tmp_path)
    assert torch.equal(train(tmp_path, killed_at=1), whole)
