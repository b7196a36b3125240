"""What the tests have in common: they compile nothing twice, and garbage is looked for only among what they make."""

import gc
import shutil
import tempfile


def pytest_configure(config):
    """Many tests make the very same program: its first compilation is kept, in a folder of this process alone.

    Not of several, since jax's files are not for two who write at once: processes that a test starts have none.
    What counts compilations counts what is asked of XLA, and so also what is found in the folder.
    """
    if config.getoption("numprocesses", None):
        return  # the process that only hands out tests
    import jax

    folder = tempfile.mkdtemp(prefix="lrax-compiled-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_collection_finish():
    """Thousands of tests and all modules are there to stay."""
    gc.collect()
    gc.freeze()
