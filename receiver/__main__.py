"""`ringback` and `python -m receiver`."""

from receiver.cli import main

if __name__ == "__main__":
    main()
