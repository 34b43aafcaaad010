"""Chain facts of leases, and what operators and renters report about them."""
