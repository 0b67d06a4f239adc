"""How property tests draw their examples.

    suite     the same examples in every run of the same code: a red run is somebody's change, never an unlucky draw
    explore   `make explore`: new examples in every run, and many; what it finds becomes an `@example` or a test

A busy machine fails neither: no example has a time limit of its own.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("suite", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("suite")
