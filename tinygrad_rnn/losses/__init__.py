"""Losses: what training makes small. Stable where logits are huge or infinite."""

from .classification import binary_cross_entropy_with_logits, cross_entropy, kl_div, nll_loss
from .ctc import ctc_loss, ctc_loss_by_scan
from .regression import huber_loss, l1_loss, mse_loss, nmse_loss

__all__ = [
    "binary_cross_entropy_with_logits", "cross_entropy", "ctc_loss", "ctc_loss_by_scan",
    "huber_loss", "kl_div", "l1_loss", "mse_loss", "nll_loss", "nmse_loss",
]  # fmt: skip
