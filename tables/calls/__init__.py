"""Metered calls by org, agent, consumer and currency, and what is settled."""
