"""The search for parameters: where it looks, what it tried, and the journal that outlives its process."""
