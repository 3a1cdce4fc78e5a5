"""Which room stands on which floor: the one table that the tests of the house read."""

from __future__ import annotations

__all__ = ["FLOORS", "FLOOR_OF", "PACKAGE"]

PACKAGE = "tinygrad_rnn"
FLOORS = {
    0: ["_version", "backend", "checks", "errors", "special"],
    1: ["create", "graph", "inplace", "tensor", "tree"],
    2: ["ops"],
    3: ["arguments", "autodiff", "checkpointing", "forward", "guards", "scan", "transforms"],
    4: [
        "clipping",
        "compiler",
        "convolution",
        "derived",
        "functional",
        "losses",
        "recurrence",
        "testing",
    ],
    5: ["baselines", "data", "nn", "optim"],
    6: ["_idle_threads", "decode", "draw", "parallel", "train"],
    7: [PACKAGE],  # the façade: what `import tinygrad_rnn` offers
    8: ["cli"],
    9: ["__main__"],
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
