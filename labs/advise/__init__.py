"""Which transport for what: the closed form of a load, costs that were measured, an answer."""
