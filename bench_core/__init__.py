"""A performance benchmark suite for PyTorch parameter operations, and what times, judges and shows it."""


def version() -> str:
    """The version that is installed, made from git's tags when it was built or installed. Not a constant, since reading
    it takes 20 ms, which every process of a gate would pay."""
    from importlib import metadata

    try:
        return metadata.version("bench_core")
    except metadata.PackageNotFoundError:  # the folder is only in the import path
        return "unknown"
