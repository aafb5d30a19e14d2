"""One partition in a worker's hands: taken over, its chunks folded, each in one transaction."""
