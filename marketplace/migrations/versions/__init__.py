"""Migrations by date."""
