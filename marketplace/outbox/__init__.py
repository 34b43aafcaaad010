"""What must happen outside the database, written inside it first."""
