"""`python -m streaming` is `labs run streaming`."""

import sys

from labs.cli import main

main(["run", "streaming", *sys.argv[1:]])
