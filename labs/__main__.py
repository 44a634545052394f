"""`python -m labs` is `labs`."""

from labs.cli import main

main()
