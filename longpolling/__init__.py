"""HTTP long polling: the client asks, the server answers when it can (RFC 6202 section 2)."""

from labs.variants import Variant
from longpolling.client import Client
from longpolling.server import serve

VARIANT = Variant(
    name="longpolling",
    title="HTTP long polling",
    package=__name__,
    serve=serve,
    client=Client,
    quiet_s=lambda settings: settings.hold_s,
)
