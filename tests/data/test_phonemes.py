"""Frame-wise phonemes, and a plant: what they are, and that context is worth something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.data.audio import PHONES, random_voice, speak_digit, speak_phones
from tinygrad_rnn.data.tasks import SpokenPhonemes, nonlinear_plant
from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError
from tinygrad_rnn.losses import cross_entropy
from tinygrad_rnn.optim import Adam

TASK = SpokenPhonemes()


def test_sounds_end_where_they_are_said_to() -> None:
    rng = np.random.default_rng(0)
    samples, ends = speak_phones(["s", ".", "iy"], random_voice(rng), rng)
    assert len(samples) == ends[-1] and (np.diff(ends) > 0).all()
    third = (ends[1] - ends[0]) // 3  # away from where one sound becomes the next
    hiss, silence, vowel = (
        part[len(part) // 2 - third // 2 :][:third] for part in np.split(samples, ends[:-1])
    )
    crossings = [np.mean(np.diff(np.sign(part)) != 0) for part in (hiss, vowel)]
    assert crossings[0] > 2 * crossings[1]
    assert silence.std() < 0.2 * min(hiss.std(), vowel.std())


def test_a_digit_is_its_sounds() -> None:
    for digit, names in ((1, "w ah n"), (6, "s ih . k s")):
        voice = random_voice(np.random.default_rng(1))
        digits = speak_digit(digit, voice, np.random.default_rng(2))
        sounds, _ = speak_phones(names.split(), voice, np.random.default_rng(2))
        np.testing.assert_array_equal(digits, sounds)


def test_every_frame_has_the_sound_at_its_middle() -> None:
    batch = TASK.draw(np.random.default_rng(3), 20)
    assert batch.inputs.shape == (*batch.targets.shape, TASK.input_size)
    assert batch.lengths is not None
    for row, length in enumerate(batch.lengths):
        labels = batch.targets[:, row]
        assert (labels[length:] == -100).all() and (labels[:length] >= 0).all()
        runs = 1 + np.count_nonzero(np.diff(labels[:length]))
        assert runs <= TASK.most and length / runs > 2
    assert set(batch.targets[batch.targets >= 0].tolist()) == set(range(len(PHONES)))


def test_frames_around_help() -> None:
    class Windows(nn.Module):
        def __init__(self, reach: int) -> None:
            self.net = nn.TDNN([range(-reach, reach + 1), [0]], [TASK.input_size, 64, 19], "relu")
            self.reach = reach

        def forward(self, xs: Any) -> Any:
            return self.net(tg.pad(xs, (0, 0, 0, 0, self.reach, self.reach)))

    held, wrong = TASK.draw(np.random.default_rng(0), 30), []
    for reach in (0, 4):
        tg.manual_seed(0)
        model = Windows(reach)
        optimizer, stream = Adam(model.parameters(), lr=5e-3), TASK.stream(8, seed=1)
        for _ in range(60):
            xs, targets, _ = next(stream)
            optimizer.zero_grad()
            cross_entropy(model(tg.tensor(xs)), tg.tensor(targets), ignore_index=-100).backward()
            optimizer.step()
        wrong.append(TASK.wrong(model(tg.tensor(held.inputs)).detach().numpy(), held).mean())
    assert wrong[1] < wrong[0] - 0.05 < 0.6


def test_the_plant_follows_its_equation_row_by_row(rng: Any) -> None:
    u = rng.uniform(-1, 1, (30, 4))
    y = np.vstack([np.zeros((1, 4)), nonlinear_plant(u)])
    np.testing.assert_allclose(y[1:], y[:-1] / (1 + y[:-1] ** 2) + u**3, rtol=1e-15)
    assert not np.allclose(nonlinear_plant(2 * u), 2 * nonlinear_plant(u))


def test_what_cannot_be() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ArgumentError, match="most >= 5"):
        SpokenPhonemes(least=5, most=4)
    with pytest.raises(ArgumentError, match="sounds out of a, ah"):
        speak_phones(["oh"], random_voice(rng), rng)
    with pytest.raises(ArgumentError, match="sounds out of"):
        speak_phones([], random_voice(rng), rng)
    with pytest.raises(ShapeError, match="scores"):
        TASK.wrong(np.zeros((3, 1)), TASK.draw(rng, 1))
    with pytest.raises(DataError, match="inputs, all finite"):
        nonlinear_plant([np.nan])
