"""`python -m websocket_chat` is `labs run websocket`."""

import sys

from labs.cli import main

main(["run", "websocket", *sys.argv[1:]])
