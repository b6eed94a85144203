"""What pictures note of how they were made, and its signature."""


def add_sign(parser):
    parser.add_argument(
        "--sign",
        nargs=2,
        metavar=("CERT", "KEY"),
        help="PEM files; see `tfstyle verify --help`",
    )


def noted(args, made: dict) -> dict:
    """Arguments of `images.write` that note in a picture what made it, and sign it if asked to."""
    from tfstyle import provenance

    options = provenance.notes(made)
    if args.sign:
        sign = provenance.signer(*args.sign)
        options["finish"] = lambda data, format: sign(data, format, made)
    return options
