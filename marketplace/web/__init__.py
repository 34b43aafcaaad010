"""What all routes share: dependencies, limits, error schemas, the documentation page."""
