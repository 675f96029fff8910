"""One file per corpus: what its owners ship, read into records."""
