"""One part, measured in this process: `python -m benchmarks.worker PART THREADS [OPTION…]`.

The environment must already hold the thread counts (see `processes`). Lines of JSON go out as
they are measured: what it is measured on, then the measures, then how it went.
"""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

import tinygrad_rnn  # noqa: F401 (before NumPy: it asks BLAS's idle threads to sleep)

from .machine import Watch, machine, versions
from .processes import hold_to

__all__ = ["say", "work"]


def say(**fields: Any) -> None:
    """A line of JSON, at once."""
    print(json.dumps(fields), flush=True)


def work(part: str, threads: int, options: set[str]) -> None:
    """Measure a part and say what comes out; an error is said too."""
    from .measure import as_json
    from .parts import PARTS
    from .timing import Effort
    from .work import Settings

    quick = "quick" in options
    settings = Settings(
        quick=quick, peers="no-peers" not in options, torch_compile="torch-compile" in options,
        threads=threads, effort=Effort.quick() if quick else Effort.on(threads),
    )  # fmt: skip
    title = (PARTS[part].__doc__ or part).splitlines()[0]
    about = {"title": title, "quick": quick, "machine": machine(), "versions": versions()}
    say(about=about)
    watch = Watch.start()
    try:
        for measure in PARTS[part](settings):
            judged = measure._replace(target=None) if quick else measure  # tiny sizes say nothing
            say(measure=as_json(judged))
    except Exception as error:
        traceback.print_exc()
        say(error=f"{type(error).__name__}: {error}")
    say(end={"seconds": watch.seconds(), "others": watch.others()})


if __name__ == "__main__":
    hold_to(int(sys.argv[2]))
    work(sys.argv[1], int(sys.argv[2]), set(sys.argv[3:]))
