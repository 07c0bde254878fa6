#!/usr/bin/env python3
"""Checks that this local AWS behaves as EC2 does where snapferry depends on it.

    VENV/bin/python selftest.py [-v] [name …]

Starts a server of its own and runs everything in `selftests/` against it, through boto3. Run it with the
Python of the virtual environment that prepare.py makes.
"""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    sys.path.insert(0, str(HERE))
    from selftests import support

    loader = unittest.TestLoader()
    names = [a for a in sys.argv[1:] if not a.startswith("-")]
    if names:
        loader.testNamePatterns = [f"*{name}*" for name in names]
    suite = loader.discover(str(HERE / "selftests"), top_level_dir=str(HERE))
    with support.server():
        result = unittest.TextTestRunner(verbosity=2 if "-v" in sys.argv else 1).run(suite)
    if result.testsRun == 0:
        print("no test ran", file=sys.stderr)
        return 1
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
