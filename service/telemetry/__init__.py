"""What the service does → counts in memory that its worker processes share → Prometheus text, and spans."""
