"""What a notebook works with, on top of `labs.lab`: short calls, answers that show themselves.

    labs.begin("01_polling")                    live, or from frozen data: it says which
    mine = labs.guess(1_000, "B")               the reader's prediction, scored afterwards
    async with labs.serve("polling") as server: a real server, people, the bytes that passed
    result = await labs.measure("paced", ["polling", "websocket"])
    result.plot("latency")                      a drawing; `result` itself shows its table

With `LABS_OFFLINE=1` in the environment the same calls answer from `data/NAME.json` beside the
notebook, where `make outputs` has frozen what they answered live.
"""
