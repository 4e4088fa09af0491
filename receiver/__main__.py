"""The entry point of `ringback` and `python -m receiver`."""

import sys
from importlib.metadata import PackageNotFoundError

try:
    from receiver.cli import main
except PackageNotFoundError:
    sys.exit("ringback: not installed here; run `make setup`, then .venv/bin/ringback")
except ModuleNotFoundError as error:
    sys.exit(f"ringback: {error.name} is missing here; run `make setup`, then .venv/bin/ringback")
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":
    main()
