"""HTTP polling: the client asks at an interval, the server answers at once (RFC 6202 section 2)."""

from labs.variants import Variant
from polling.client import Client
from polling.server import serve

VARIANT = Variant(
    name="polling",
    title="HTTP polling",
    package=__name__,
    serve=serve,
    client=Client,
    quiet_s=lambda settings: 0.0,
)
