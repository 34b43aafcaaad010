"""Sign-In with Ethereum and bearer tokens."""
