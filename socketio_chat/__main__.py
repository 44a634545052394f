"""`python -m socketio_chat` is `labs run socketio`."""

import sys

from labs.cli import main

main(["run", "socketio", *sys.argv[1:]])
