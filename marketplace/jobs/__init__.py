"""What a renter sees of its work: state, logs, artifacts."""
