"""``python -m fer_cli`` and the console script ``fer``."""


def main() -> None:
    """Run the program."""
    from fer_cli.cli.app import run

    run()


if __name__ == "__main__":
    main()
