"""The signed summary of a closed lease."""
