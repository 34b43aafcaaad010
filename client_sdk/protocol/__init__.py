"""What all parties share: messages, signed types, hashes, states and the trace.

Pure: the standard library, blake3, rfc8785 and (for what a contract checks) keccak.
"""
