"""A raw WebSocket: one connection, both sides write frames at any time (RFC 6455)."""

from dataclasses import replace

from labs.variants import Variant
from websocket_chat.client import Client
from websocket_chat.server import serve

VARIANT = Variant(
    name="websocket",
    title="WebSocket",
    package=__name__,
    serve=serve,
    client=Client,
    quiet_s=lambda settings: settings.heartbeat_s,
)
DEFLATE = replace(
    VARIANT,
    name="websocket-deflate",
    title="WebSocket, compressed",
    overrides={"compress": True},
)
