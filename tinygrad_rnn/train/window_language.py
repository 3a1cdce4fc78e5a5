"""A language model on a window: what recurrent ones have to beat, and what came before them.

Legend: T time steps, B streams side by side, V symbols, E embedding size, n symbols in the window.
"""

from __future__ import annotations

from typing import Any

from ..arguments import whole_number
from ..create import zeros
from ..errors import CarryError
from ..nn import Embedding, Linear, Module, tapped_delay_line
from ..ops.elementwise import tanh
from ..ops.shape import cat
from ..tensor import Tensor

__all__ = ["TDNNLM"]


class TDNNLM(Module):
    """p(w_{t+1} | w_t … w_{t−n+1}), a time-delay network on words (Bengio et al. 2003).

    z_t = [P w_t, P w_{t−1}, …, P w_{t−n+1}];  h_t = tanh(V z_t + b);  logits_t = U h_t + c

    One projection P for all places; before the start all of it is 0. Called as `CharLM` is, so that
    what trains, judges, samples and searches takes either: ``model(symbols (T, B), state) ->
    (logits (T, B, V), state)``, the state being the last n − 1 projections (n − 1, B, E).

    >>> import tinygrad_rnn as tg
    >>> model = TDNNLM(vocabulary_size=10, window=3, hidden_size=8)
    >>> logits, state = model(tg.tensor([[1], [2], [3]]))
    >>> logits.shape, state.shape
    ((3, 1, 10), (2, 1, 64))
    """

    def __init__(
        self, vocabulary_size: int, window: int, hidden_size: int, *, embedding_size: int = 64
    ) -> None:
        self.window = whole_number("TDNNLM", "window", window)
        self.embedding = Embedding(vocabulary_size, embedding_size)
        self.spliced = Linear(window * embedding_size, hidden_size)
        self.output = Linear(hidden_size, vocabulary_size)

    def forward(self, symbols: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Logits of what follows each symbol, and the state to go on from."""
        hidden, state = self.hidden(symbols, state)
        return self.output(hidden), state

    def hidden(self, symbols: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """What the output layer sees, (T, B, H), and the state to go on from."""
        seen, before = self.embedding(symbols), self.window - 1
        shape = (before, *seen.shape[1:])
        if state is None:
            state = zeros(*shape, dtype=seen.dtype, device=seen.device)
        elif state.shape != shape:
            raise CarryError("TDNNLM", f"a state of shape {shape}", str(state.shape))
        whole = cat([state, seen], 0)
        spliced = tapped_delay_line(whole, self.window)[before:]
        return tanh(self.spliced(spliced)), whole[whole.shape[0] - before :]
