"""A talk whose bytes are known beforehand: one person speaks, at a constant rate, in one length.

Every text is 24 ASCII characters and every moment fixed, so the closed form does not depend on a
seed; nobody is silent long enough for a heartbeat, and nobody polls too late for a message.
"""

from __future__ import annotations

from labs.bench import heads
from labs.bench.prediction import Prediction
from labs.bench.prediction import predict as predict_bytes
from labs.bench.schedule import schedule
from labs.bench.workload import Headers, Workload

PACED = Workload(
    name="paced-evenly",
    senders=1,
    probes=0,
    duration_s=2.0,
    tail_s=0.25,
    arrivals="constant",
    rate_per_s=4.0,  # a poll is back long before the next message: none brings two
    chars_sigma=0.0,
    korean_share=0.0,
    settings={"hold_s": 60.0, "heartbeat_s": 60.0},
)


def expected(workload: Workload, variant: str, headers: Headers = "python") -> Prediction:
    """The closed form of this talk, or of another of its kind, for one variant."""
    ticks = schedule(workload, seed=1, number=1)  # as long as those of any other seed
    found = predict_bytes(workload, variant, ticks, heads.find(headers))
    assert found
    return found
