"""State of a run beside model and optimiser: it is saved with them, or a resumed run differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs_in_tests import assert_resumes

import tinygrad_rnn as tg
from tinygrad_rnn import losses, optim
from tinygrad_rnn.data import ContinuousBatches
from tinygrad_rnn.errors import CheckpointError, DTypeError, StateDictError
from tinygrad_rnn.train import CharLM, Trainer

V, SAMPLES = 12, 4
TEXT = np.random.default_rng(3).integers(0, V, 200)


def adapting(others: bool = True) -> Trainer:
    """A model trained on samples of what it prefers itself (Bengio, Senécal 2008)."""
    tg.manual_seed(1)
    model = CharLM(V, 5, embedding_size=3)
    sampler = losses.AdaptiveSampler(np.ones(V), rate=0.2)

    def loss(batch: Any, carry: Any) -> tuple[Any, Any]:
        hidden, carry = model.hidden(tg.tensor(batch[0]), carry)
        used = losses.draw_candidates(sampler, batch[1].ravel(), SAMPLES)
        rows = hidden.reshape(-1, 5)
        weight, bias = model.output.weight, model.output.bias
        drawn = losses.importance_weights(rows, weight, bias, used)
        sampler.adapt(used.ids[used.samples], drawn)
        return losses.sampled_loss(rows, weight, bias, used, "importance"), carry

    batches = ContinuousBatches(TEXT, batch_size=2, steps=6)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    return Trainer(model, optimizer, batches, loss, others={"sampler": sampler} if others else None)


@pytest.mark.parametrize("stop", [1, 7])
def test_a_resumed_run_draws_from_the_sampler_that_it_had(stop: int, tmp_path: Path) -> None:
    assert_resumes(adapting, stop, 12, tmp_path)


@pytest.mark.parametrize(("stored", "here"), [(True, False), (False, True)])
def test_state_is_not_dropped_or_begun_in_a_resumed_run(
    stored: bool, here: bool, tmp_path: Path
) -> None:
    earlier, trainer = adapting(stored), adapting(here)
    earlier.run(2)
    earlier.save(tmp_path / "run.ckpt")
    before = [p.tolist() for p in trainer.model.parameters()]
    with pytest.raises(CheckpointError, match="sampler"):
        trainer.load(tmp_path / "run.ckpt")
    assert [p.tolist() for p in trainer.model.parameters()] == before


def test_what_has_no_state_is_refused() -> None:
    trainer = adapting()
    with pytest.raises(DTypeError, match="state_dict and load_state_dict"):
        Trainer(
            trainer.model, trainer.optimizer, trainer.batches, trainer.loss,
            others={"sampler": losses.UniformSampler(V)},
        )  # fmt: skip


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"weights": np.ones(V - 1)},
        {"weights": np.zeros(V)},
        {"weights": np.full(V, np.nan)},
        {"weights": "even"},
    ],
)
def test_a_sampler_refuses_a_state_that_is_none(state: Any) -> None:
    sampler = losses.AdaptiveSampler(np.arange(1, V + 1.0))
    before = sampler.weights.copy()
    with pytest.raises(StateDictError, match="weights"):
        sampler.load_state_dict(state)
    assert sampler.weights.tolist() == before.tolist()
