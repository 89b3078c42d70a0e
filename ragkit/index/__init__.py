"""One folder, two legs, one commit."""
