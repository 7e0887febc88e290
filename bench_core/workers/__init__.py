"""The code that runs in other processes, and the messages between processes."""
