"""`python -m longpolling` is `labs run longpolling`."""

import sys

from labs.cli import main

main(["run", "longpolling", *sys.argv[1:]])
