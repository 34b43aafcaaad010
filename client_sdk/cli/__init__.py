"""The `gridlease` command line, one file per noun."""
