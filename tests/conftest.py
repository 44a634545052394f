"""What all tests share: nothing yet but this line; see `tests/need.py` for what they need."""
