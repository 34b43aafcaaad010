"""Draws after confirmed commits, and the blind exchange between worker and auditor."""
