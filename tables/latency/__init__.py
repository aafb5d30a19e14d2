"""Latencies of model calls by minute, hour and model."""
