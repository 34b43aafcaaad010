"""Proofs about the contracts' money: `python -m contracts.proofs --help`."""
