"""One connection: its bytes, the bounds on them, and the answers that go back."""
