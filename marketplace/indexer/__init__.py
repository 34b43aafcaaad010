"""Follows the contract's events into the database, and back out of it after a reorganisation."""
