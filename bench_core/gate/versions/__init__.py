"""What git and installs give, as a folder that a worker can import."""
