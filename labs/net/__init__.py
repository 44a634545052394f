"""Networks between a client and a server: delay, jitter, bandwidth and loss, made by ourselves.

`network` says what a network is, `queue` what it does to a packet, `between` puts one between
two processes: packets through a TUN bridge where we may, a relay's bytes where we may not.
"""
