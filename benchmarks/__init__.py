"""How fast the classification metrics are, and how much room they take: `make bench`."""
