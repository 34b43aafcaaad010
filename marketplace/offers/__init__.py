"""Signed standing offers of providers."""
