"""Recorded bytes taken apart: every byte belongs to a piece with a layer and a phase.

    events  ->  two sides  ->  exchanges, then frames  ->  pieces
    (recording) (pieces)       (http, purpose, frames)     (pieces)

No part of it reads a clock or a socket. `Side` holds all the bytes of one direction, so the
parsers look at a conversation as a whole and need not care where it was cut.

What is compressed (Content-Encoding, permessage-deflate) is `envelope` whole, or `content`
where it is the page's: a byte of a deflate stream belongs to no character in particular.
"""

from labs.wire.dissect.conversation import dissect, sides
from labs.wire.dissect.pieces import Piece, Side

__all__ = ["Piece", "Side", "dissect", "sides"]
