"""Bytes of a request → strict JSON → what is asked for."""
