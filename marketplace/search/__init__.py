"""The columnar offer index in front of the database."""
