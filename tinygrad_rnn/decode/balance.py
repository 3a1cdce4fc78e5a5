"""What is known of labels before anything is heard, put into log-probabilities.

Legend: T time steps, B rows, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ShapeError
from .ctc import checked_rows

__all__ = ["even_labels"]

ROUNDS, STEP, CLOSE = 1000, 0.5, 1e-9


def even_labels(
    log_probs: Any, lengths: ArrayLike | None = None, blank: int | None = 0
) -> NDArray[np.float64]:
    """What makes all labels equally likely on the whole: (C,), to be added to log-probabilities.

    A model of other speakers may hear one label for another throughout. Where all are known to be
    said equally often, the b for which Σ softmax(log_probs + b)ₖ over all steps is the same for all
    k but the blank corrects that without a transcript. It is found by bₖ −= ½ log(countₖ / mean).

    Args:
        log_probs: (T, B, C). lengths: (B,), all T if not given.

    Raises:
        ShapeError: no step, or no label beside the blank; else as `ctc_best_path`.

    Source: Saerens, Latinne and Decaestecker (2002), Adjusting the outputs of a classifier to new
    a priori probabilities.

    >>> even_labels(np.log([[[0.5, 0.4, 0.1]]])).round(3).tolist()
    [0.0, -0.693, 0.693]
    """
    rows = list(checked_rows("even_labels", log_probs, lengths, blank))
    there = np.concatenate(rows) if rows else np.zeros((0, 0))
    there = there[there.max(axis=1, initial=-np.inf) > -np.inf]
    labels = np.array([k != blank for k in range(there.shape[1])])
    if not len(there) or not labels.any():
        raise ShapeError("even_labels", "a step, and a label beside the blank", there.shape)
    bias = np.zeros(len(labels))
    for _ in range(ROUNDS):
        scores = there + bias
        shares = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
        counts = shares[:, labels].sum(axis=0) + np.finfo(np.float64).tiny
        off = np.log(counts / counts.mean())
        bias[labels] -= STEP * (off - off.mean())
        if np.abs(off).max() < CLOSE:
            break
    return bias
