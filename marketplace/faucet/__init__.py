"""Money for new wallets on the development chain."""
