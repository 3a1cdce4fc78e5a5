"""Losses: what training makes small. Stable where logits are huge or infinite."""

from .classification import binary_cross_entropy_with_logits, cross_entropy, kl_div, nll_loss
from .ctc import ctc_loss, ctc_loss_by_scan
from .mixture import PenMixture, mixture_density_loss, pen_mixture
from .regression import huber_loss, l1_loss, mse_loss, nmse_loss
from .sampled import (
    Candidates,
    draw_candidates,
    importance_weights,
    sampled_loss,
    self_normalized_cross_entropy,
    target_loss,
)
from .samplers import (
    AdaptiveSampler,
    LogUniformSampler,
    Sampler,
    UniformSampler,
    UnigramSampler,
    target_partitions,
)

__all__ = [
    "AdaptiveSampler", "Candidates", "LogUniformSampler", "PenMixture", "Sampler",
    "UniformSampler", "UnigramSampler", "binary_cross_entropy_with_logits", "cross_entropy",
    "ctc_loss", "ctc_loss_by_scan", "draw_candidates", "huber_loss", "importance_weights", "kl_div",
    "l1_loss", "mixture_density_loss", "mse_loss", "nll_loss", "nmse_loss", "pen_mixture",
    "sampled_loss", "self_normalized_cross_entropy", "target_loss", "target_partitions",
]  # fmt: skip
