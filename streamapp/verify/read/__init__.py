"""Readers of what Kafka holds, for the checks alone: none of the workers' decoders, models or arithmetic is used."""
