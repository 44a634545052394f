"""`python -m polling` is `labs run polling`."""

import sys

from labs.cli import main

main(["run", "polling", *sys.argv[1:]])
