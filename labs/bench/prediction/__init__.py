"""What a run should weigh, in bytes by cell, from its workload alone; and how it differs.

    tally        the smallest parts of the wire
    requests     polling, long polling, and streaming's way up
    streams      streaming
    frames       websocket
    packets      socketio, over a WebSocket and over HTTP
    window       what the models work on
    models       how often each of their parts happens
    whole        all of it together
    differences  what was measured, beside it

Each module derives its figures in its docstring, from the specifications and from what our
servers say; none of them was measured but the request heads of a browser (`labs.bench.heads`).
"""

from labs.bench.prediction.differences import Difference, difference
from labs.bench.prediction.whole import Prediction, handshake, predict
from labs.bench.prediction.window import Counts

__all__ = ["Counts", "Difference", "Prediction", "difference", "handshake", "predict"]
