"""``python -m lrax EXPRESSION``."""

from .preview.command import main

if __name__ == "__main__":
    raise SystemExit(main())
