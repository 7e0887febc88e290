"""`bench-core model`: measures how a model starts up, and what jobs on its parameters cost."""
