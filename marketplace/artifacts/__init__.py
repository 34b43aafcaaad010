"""Encrypted, content-addressed files of jobs."""
