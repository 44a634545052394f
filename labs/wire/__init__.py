"""What passes over the wire, counted outside the variants."""
