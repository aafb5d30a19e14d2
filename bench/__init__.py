"""The job against its peers: one command, one machine, one topic, every result checked."""
