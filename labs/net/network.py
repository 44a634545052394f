"""What a network is: one access link that all clients share, as plain data.

The named ones are round, typical figures and no measurement of anybody's network. From where
they come:

    lan         switched Fast Ethernet (IEEE 802.3u) within a building; the delay is our figure
    wifi        bandwidth and latency of `Wi-Fi` in Firefox's network monitor (30/15 Mbit/s, 2 ms)
    4g          bandwidth and round trip of `LTE` in WebPageTest's connectivity.ini (12/12 Mbit/s,
                70 ms)
    3g          bandwidth and round trip of `3G` there (1.6/0.768 Mbit/s, 300 ms)
    satellite   geostationary: two hops of 279 ms are the 558 ms of RFC 2488 section 2, rounded up;
                25/3 Mbit/s is what the FCC of the USA called broadband from 2015 to 2024

Neither source gives jitter or loss: those, and the queues, are round figures of ours. Radio links
repeat what was lost on the air, and so turn most loss into jitter (RFC 3481 section 2).
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from labs.errors import UsageError

JITTER = "exponential"
"""How the jitter is distributed: it is added to the delay and never negative."""

_RANGES: dict[str, tuple[float, float]] = {
    "delay_ms": (0, 10_000),
    "jitter_ms": (0, 1_000),
    "up_bit_s": (1_000, 10_000_000_000),
    "down_bit_s": (1_000, 10_000_000_000),
    "loss": (0, 0.5),
    "queue_ms": (1, 60_000),
}
"""What each number of a network may be."""


@dataclass(frozen=True, slots=True)
class Network:
    """One network. Raises `UsageError` for a value out of range.

    `up` is from the clients to the server. Delay, jitter, loss and queue hold for each way.
    """

    name: str
    delay_ms: float  # one way, and the least: half of what ping says of an idle link
    up_bit_s: int  # of IP packets, headers included
    down_bit_s: int
    jitter_ms: float = 0.0  # the mean of what is added to the delay, anew for each packet
    loss: float = 0.0  # the share of packets that vanish, each by itself
    queue_ms: float = 200.0  # a packet that would wait longer for the link is dropped

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            whole = name.endswith("bit_s")
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                kind = "a whole number" if whole else "a number"
                raise UsageError(
                    f"network {self.name}: {name} is {value!r}; "
                    f"give {kind} from {least:,} to {most:,}"
                )
            if not least <= value <= most:
                raise UsageError(
                    f"network {self.name}: {name} is {value:,}; give {least:,} to {most:,}"
                )

    @property
    def rtt_ms(self) -> float:
        """The least round trip, without jitter and without the time a packet is being sent."""
        return 2 * self.delay_ms

    def bit_s(self, direction: str) -> int:
        """The bandwidth `up` or `down`."""
        return self.up_bit_s if direction == "up" else self.down_bit_s


NETWORKS = {
    network.name: network
    for network in (
        Network("lan", delay_ms=0.25, up_bit_s=100_000_000, down_bit_s=100_000_000, queue_ms=50),
        Network(
            "wifi", delay_ms=1, jitter_ms=1, up_bit_s=15_000_000, down_bit_s=30_000_000, loss=0.001
        ),
        Network(
            "4g", delay_ms=35, jitter_ms=5, up_bit_s=12_000_000, down_bit_s=12_000_000, loss=0.001
        ),
        Network(
            "3g", delay_ms=150, jitter_ms=15, up_bit_s=768_000, down_bit_s=1_600_000, loss=0.005
        ),
        Network(
            "satellite",
            delay_ms=280,
            jitter_ms=5,
            up_bit_s=3_000_000,
            down_bit_s=25_000_000,
            loss=0.005,
        ),
    )
}
"""The networks that have a name."""


def load(name_or_file: str) -> Network:
    """The network of this name, or the one in this TOML file.

    The keys of a file are the fields of `Network`; `name` may be left out. Raises `UsageError`
    with the nearest name, or with the file, the key and what it may be.
    """
    if network := NETWORKS.get(name_or_file):
        return network
    path = Path(name_or_file)
    if path.suffix == ".toml" or path.is_file():
        return _read(path)
    near = difflib.get_close_matches(name_or_file, NETWORKS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(NETWORKS)}"
    raise UsageError(f"no network is called {name_or_file!r}; {hint} A file ends in .toml.")


def _read(path: Path) -> Network:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give a file that can be read") from None
    except (tomllib.TOMLDecodeError, UnicodeError) as error:
        raise UsageError(f"{path} is no TOML: {error}") from None
    try:
        return _made(path.stem, values)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _made(name: str, values: dict[str, Any]) -> Network:
    keys = [field.name for field in fields(Network)]
    for key in values:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(keys)}"
            raise UsageError(f"no key is called {key!r}; {hint}")
    for key in ("delay_ms", "up_bit_s", "down_bit_s"):
        if key not in values:
            least, most = _RANGES[key]
            raise UsageError(f"{key} is missing; give {least:,} to {most:,}")
    if not isinstance(values.setdefault("name", name), str):
        raise UsageError(f"name is {values['name']!r}; give a text")
    return Network(**values)
