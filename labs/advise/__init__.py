"""Which transport for what: the closed form of a load, costs that were measured, an answer.

    advise(Need(clients=2_000, rate_per_s=0.2, rtt_s=0.08, max_latency_s=0.5), of_file(path))

The modules, from the question to the answer:

    need      what is wanted
    flow      bytes, batches and requests a second, from the prediction
    latency   within what 95 % of deliveries are there, from theory
    costs     CPU and memory, fitted to runs
    trial     such runs, made here and now
    option    one transport under a need: its figures, and which of them fail
    advice    all of them weighed
"""

from labs.advise.advice import Advice, advise
from labs.advise.costs import Cost, Costs, Range, of_file
from labs.advise.need import Need
from labs.advise.option import Option, candidates
from labs.advise.trial import tried

__all__ = [
    "Advice",
    "Cost",
    "Costs",
    "Need",
    "Option",
    "Range",
    "advise",
    "candidates",
    "of_file",
    "tried",
]
