"""The functions behind the layers and the losses: `from tinygrad_rnn.nn import functional as F`."""

from __future__ import annotations

from .. import functional, losses
from ..functional import *  # noqa: F403
from ..losses import *  # noqa: F403

__all__ = sorted({*functional.__all__, *losses.__all__})  # noqa: PLE0605
