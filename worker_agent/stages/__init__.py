"""Stages of one attempt: prepare, accept, execute, prove, upload; a module each."""
