"""Checks of derivatives that are able to fail: by random projection, and of every element.

    from tinygrad_rnn.testing import check_grads

    check_grads(lambda x, w: tg.tanh(x @ w), (x, w))   # forward and reverse mode, order 2
"""

from .gradcheck import check_full, check_grads, check_jvp, check_vjp

__all__ = ["check_full", "check_grads", "check_jvp", "check_vjp"]
