"""Shows that the contracts' tests notice mistakes: `python -m contracts.mutation --help`."""
