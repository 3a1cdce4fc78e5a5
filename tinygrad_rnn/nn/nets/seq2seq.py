"""Encoder and decoder, with or without attention (Sutskever et al. 2014; Luong et al. 2015).

Legend: S source steps, T target steps, B batch, V symbols, E embedding size, H hidden size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...arguments import whole_number
from ...functional import softmax, tanh
from ...graph import no_grad
from ...ops.elementwise import where
from ...ops.linalg import matmul
from ...ops.shape import cat, swapaxes
from ...tensor import as_tensor
from ..layers import Embedding, Linear, check_flags, check_sizes
from ..module import Module
from ..rnns import GRU

__all__ = ["Attention", "EncoderDecoder"]


class Attention(Module):
    """score_s = h_tᵀ W_a m_s;  c_t = Σ_s softmax(score)_s m_s;  h̃_t = tanh(W_c [c_t, h_t]).

    Shapes: queries h (B, T, H), memory m (B, S, M), mask (B, S) of what may be seen -> h̃ (B, T, H)
    and the weights (B, T, S): "general" global attention (Luong et al. 2015).

    >>> import tinygrad_rnn as tg
    >>> mixed, weights = Attention(4, 6)(tg.ones(2, 3, 4), tg.ones(2, 5, 6))
    >>> mixed.shape, weights[0, 0].sum().item()
    ((2, 3, 4), 1.0)
    """

    def __init__(self, hidden_size: int, memory_size: int) -> None:
        self.score = Linear(memory_size, hidden_size, bias=False)
        self.combine = Linear(hidden_size + memory_size, hidden_size, bias=False)

    def forward(self, queries: Any, memory: Any, mask: Any = None) -> tuple[Any, Any]:
        """What the queries become, and where they look."""
        scores = matmul(queries, swapaxes(self.score(memory), 1, 2))
        scores = scores if mask is None else where(mask[:, None, :], scores, float("-inf"))
        weights = softmax(scores, -1)
        return tanh(self.combine(cat([matmul(weights, memory), queries], -1))), weights


class EncoderDecoder(Module):
    """h_enc(S) starts a decoder that reads its own last symbol: p(y_t | y_<t, x).

    The encoder is a bidirectional GRU, whose last states are mapped to the decoder's first; with
    `attention` the decoder also looks back at every state of the encoder.

    >>> import tinygrad_rnn as tg
    >>> net = EncoderDecoder(9, 7, embedding_size=4, hidden_size=8)
    >>> net(tg.tensor([[1, 2], [3, 4], [5, 6]]), tg.tensor([[0, 0], [1, 2]])).shape
    (2, 2, 7)
    """

    def __init__(
        self,
        source_symbols: int,
        target_symbols: int,
        *,
        embedding_size: int,
        hidden_size: int,
        attention: bool = True,
    ) -> None:
        check_sizes("EncoderDecoder", embedding_size=embedding_size, hidden_size=hidden_size)
        check_flags("EncoderDecoder", attention=attention)
        self.source = Embedding(source_symbols, embedding_size)
        self.target = Embedding(target_symbols, embedding_size)
        self.encoder = GRU(embedding_size, hidden_size, bidirectional=True)
        self.bridge = Linear(2 * hidden_size, hidden_size)
        self.decoder = GRU(embedding_size, hidden_size)
        self.attention = Attention(hidden_size, 2 * hidden_size) if attention else None
        self.output = Linear(hidden_size, target_symbols)

    def encode(self, source: Any, lengths: Any = None) -> dict[str, Any]:
        """Symbols (S, B) -> the decoder's first state: a dict whose leaves have rows B first."""
        states, final = self.encoder(self.source(source), lengths=lengths)
        state = {"h": tanh(self.bridge(cat([final[0], final[1]], -1)))}
        if self.attention is not None:
            steps = as_tensor(np.arange(source.shape[0]), device=states.device)
            ends = source.shape[0] if lengths is None else as_tensor(lengths, device=states.device)
            seen = steps < (ends if lengths is None else ends[:, None])
            state["memory"] = swapaxes(states, 0, 1)
            state["mask"] = seen if lengths is not None else seen[None].expand(source.shape[1], -1)
        return state

    def decode(self, state: dict[str, Any], symbols: Any) -> tuple[dict[str, Any], Any]:
        """Symbols (T, B) that are known -> (the state after them, logits (T, B, V) of the next)."""
        hidden, final = self.decoder(self.target(symbols), state["h"][None])
        if self.attention is not None:
            mixed, _ = self.attention(swapaxes(hidden, 0, 1), state["memory"], state["mask"])
            hidden = swapaxes(mixed, 0, 1)
        return {**state, "h": final[0]}, self.output(hidden)

    def forward(self, source: Any, target: Any, lengths: Any = None) -> Any:
        """Teacher forcing: logits (T, B, V) of what follows each symbol of the target (T, B)."""
        return self.decode(self.encode(source, lengths), target)[1]

    def step(self, state: dict[str, Any], symbols: Any) -> tuple[dict[str, Any], Any]:
        """One symbol a row (B,) -> (state, logits (B, V)): what a beam search takes."""
        state, logits = self.decode(state, as_tensor(symbols)[None])
        return state, logits[0]

    def greedy(self, source: Any, first: int, steps: int, lengths: Any = None) -> Any:
        """The likeliest symbol again and again, from `first`: symbols (steps, B).

        Raises:
            ArgumentError: fewer than one step.
        """
        whole_number("EncoderDecoder.greedy", "steps", steps)
        with no_grad():
            state, found = self.encode(source, lengths), []
            symbols = source[0] * 0 + first
            for _ in range(steps):
                state, logits = self.step(state, symbols)
                symbols = logits.argmax(-1)
                found.append(symbols[None])
            return cat(found, 0)
