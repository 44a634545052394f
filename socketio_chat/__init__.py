"""Socket.IO: events over polling that upgrades to a WebSocket, or over either alone."""

from dataclasses import replace

from labs.variants import Variant
from socketio_chat.client import Client
from socketio_chat.server import serve

VARIANT = Variant(
    name="socketio",
    title="Socket.IO",
    package=__name__,
    serve=serve,
    client=Client,
    quiet_s=lambda settings: settings.heartbeat_s,
)
WEBSOCKET_ONLY = replace(
    VARIANT,
    name="socketio-websocket",
    title="Socket.IO, WebSocket only",
    overrides={"transports": ("websocket",)},
)
POLLING_ONLY = replace(
    VARIANT,
    name="socketio-polling",
    title="Socket.IO, polling only",
    overrides={"transports": ("polling",)},
)
