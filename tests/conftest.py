import gc

pytest_plugins = ["pytester"]


def pytest_collection_finish():
    # Samples begin with a garbage collection. With torch and thousands of tests in memory, each takes 0.3 s.
    gc.collect()
    gc.freeze()
