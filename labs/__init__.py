"""One chat over five transports, and the instrument that compares them."""

__version__ = "0.1.0"
