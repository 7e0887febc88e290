"""Makes versions: from git, from installs and from interpreters, to what a worker can import."""
