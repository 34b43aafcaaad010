"""The program inside the sandbox: runs the renter's script and reports segments.

Standard library, torch, safetensors, blake3, `client_sdk.protocol` and `client_sdk.training` only.
"""
