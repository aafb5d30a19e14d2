"""The front capture beside a bare reference: CPU per event, events per second, and how long an answer takes."""
