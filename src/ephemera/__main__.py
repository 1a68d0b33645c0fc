"""``python -m ephemera``: the command, also where its script is not on PATH."""

from ephemera.cli.entry import main

if __name__ == "__main__":
    main()
