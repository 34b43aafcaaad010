"""The chain as the other parts see it: reading, sending, keys and signatures."""
