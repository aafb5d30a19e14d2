"""Dead letters by cause, and their incidents."""
