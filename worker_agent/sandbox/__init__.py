"""Runs a renter's program on the provider's machine without trusting it."""
