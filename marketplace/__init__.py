"""The marketplace node: an index of the chain, a board of signed offers and orders, a relay.

The chain is the truth for money; everything this package believes about money it read there. Any
number of nodes can serve one market, and none of them holds a key of a renter or a provider.
"""
