"""HTTP streaming: the client asks once, the server goes on answering (RFC 6202 section 3)."""

from labs.variants import Variant
from streaming.client import Client
from streaming.server import serve

VARIANT = Variant(
    name="streaming",
    title="HTTP streaming (server-sent events)",
    package=__name__,
    serve=serve,
    client=Client,
    quiet_s=lambda settings: settings.heartbeat_s,
)
