"""The instrument: the same load on every variant, its bytes, latency and losses side by side."""
