"""Pure rules of the market: no I/O, no clock, no database."""
