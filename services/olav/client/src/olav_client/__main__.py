"""`python -m olav_client`: the command `olav` where it is not installed by that name."""

from olav_client.cli import main

if __name__ == "__main__":
    main()
