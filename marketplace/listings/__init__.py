"""Machines listed on the chain."""
