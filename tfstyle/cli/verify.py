"""`tfstyle verify`: what made a picture."""

import argparse
import json


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle verify` to the commands."""
    parser = commands.add_parser(
        "verify",
        help="say what made a picture, from its metadata and signature",
        description="Says what made a picture, as its metadata and its signature tell.",
        epilog="""\
Every picture of `stylize`, `optimize`, `client` and the page of `web` says in its metadata that it
is AI-generated, by which model and version. Most programs that edit or send pictures drop that, and
anyone can change it. A picture made with --sign CERT KEY carries a signed manifest besides (Content
Credentials, C2PA), which shows any change since. It needs: pip install 'tfstyle[c2pa]'

States: Valid (unchanged since it was signed), Trusted (and the signer is on a list of trust),
Invalid (changed, or the signature is broken).

Exit code: 0 where what made the picture is told and no signature is broken, 1 where not.

Examples:
  tfstyle verify painted.jpg
  tfstyle stylize photo.jpg -o painted.jpg --sign chain.pem key.pem""",
    )
    parser.add_argument("picture", metavar="PICTURE", help="an image file")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle verify`; returns the exit code."""
    from tfstyle.images import provenance

    plain = provenance.found(args.picture)
    signed = provenance.verified(args.picture) if provenance.can_verify() else None
    made = plain["made"] or (signed or {}).get("made")
    source = plain["source_type"] or (signed or {}).get("source_type")
    if args.json:
        print(json.dumps({"file": args.picture, "metadata": plain, "signed": signed}, indent=2))
    else:
        told = ", ".join(f"{key} {value}" for key, value in (plain["made"] or {}).items())
        print(f"Made by     {told or 'nothing in its metadata'}")
        print(f"Source      {source.rpartition('/')[2] if source else 'not told'}")
        if signed:
            by = signed["signer"] or "unknown"
            why = f" ({', '.join(signed['problems'])})" if signed["problems"] else ""
            print(f"Signature   {signed['state']}, by {by}{why}")
            told = ", ".join(f"{key} {value}" for key, value in (signed["made"] or {}).items())
            print(f"Signed      {told or 'nothing about what made it'}")
        elif not provenance.can_verify():
            print("Signature   not looked for: pip install 'tfstyle[c2pa]'")
        else:
            print("Signature   none")
    return 1 if not made or (signed and signed["state"] == "Invalid") else 0
