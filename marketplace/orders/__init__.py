"""Renters' signed demands, from placing to the signed terms."""
