"""Calls that the node sends to the chain for accounts that hold no native coin."""
