"""Forecast a chaotic series one step ahead and running freely, beside what a network has to beat.

The series is Mackey–Glass with delay 17. The picture goes to runs/time_series.png. Errors are NMSE:
1 is what the mean of the series would get.

python examples/time_series.py
"""

import argparse
from pathlib import Path

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.baselines import LinearAR, nmse, persistence
from tinygrad_rnn.data import Standardizer, split_in_time, windows
from tinygrad_rnn.data.tasks import mackey_glass
from tinygrad_rnn.draw import plot_forecast
from tinygrad_rnn.losses import mse_loss
from tinygrad_rnn.optim import Adam, CosineAnnealingLR, clip_grad_norm_
from tinygrad_rnn.train import Forecaster, forecasts

WINDOW, AHEAD = 100, 100  # values a forecast looks back on, and steps it runs freely


def main(count, steps):
    series = mackey_glass(count)
    parts = split_in_time(count)  # 70 % to train on, 15 % to choose by, 15 % to judge by
    scale = Standardizer.fit(series[parts.train])
    z = scale.transform(series)
    cut = windows(z, WINDOW, 1, part=parts.train)
    inputs, targets = cut.history.astype(np.float32), cut.next_values.astype(np.float32)

    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    model = Forecaster(inputs=0, hidden_size=48, cell="gru")  # says how much will change
    optimizer = Adam(model.parameters(), lr=1e-2)
    schedule = CosineAnnealingLR(optimizer, steps)
    for step in range(1, steps + 1):
        batch = rng.integers(inputs.shape[1], size=32)
        optimizer.zero_grad()
        loss = mse_loss(model(tg.tensor(inputs[:, batch]))[0], tg.tensor(targets[:, batch]))
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % (steps // 5) == 0:
            print(f"step {step:4}   loss {loss.item():.2e}")

    # a linear autoregression, of the order that is best on the validation part
    ar = LinearAR.select(z[parts.train], z[parts.validation])
    test = windows(z, WINDOW, AHEAD, part=parts.test)
    truth, past = test.targets[..., 0], test.history[..., 0]
    runs = {
        "GRU": forecasts(model, test, AHEAD),
        f"AR({ar.order})": ar.forecast(past, AHEAD),
        "persistence": persistence().forecast(past, AHEAD),
    }
    print(f"\nNMSE over {truth.shape[1]} starts in the last 15 % of the series")
    print(f"{'':14}" + "".join(f"{f'step {n}':>12}" for n in (1, 10, 30, AHEAD)))
    errors = {}
    for name, run in runs.items():
        errors[name] = [nmse(truth[n - 1], run[n - 1]) for n in (1, 10, 30, AHEAD)]
        print(f"{name:14}" + "".join(f"{error:12.2g}" for error in errors[name]))
    best = [min(errors, key=lambda name, k=k: errors[name][k]) for k in range(4)]
    print(f"{'the best':14}" + "".join(f"{name:>12}" for name in best))

    times = np.arange(AHEAD) + test.origins[0]
    curves = [("truth", times, scale.inverse(truth[:, 0]))]
    curves += [(name, times, scale.inverse(run[:, 0])) for name, run in runs.items()]
    path = Path("runs/time_series.png")
    path.parent.mkdir(exist_ok=True)
    plot_forecast(path, {f"Mackey–Glass, free run after {WINDOW} values": curves})
    print(f"\npicture of the first of them: {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    quick = parser.parse_args().quick
    main(count=1500 if quick else 4000, steps=10 if quick else 1000)
