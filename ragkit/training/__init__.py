"""Models made better from data of one's own, and kept only if they are."""
