"""`read-adapters export`, `info`, `fetch` and `push`: make a bundle, look at one, complete one, put one on the hub."""

import argparse
import json
import sys
from pathlib import Path


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the commands."""
    parser = commands.add_parser(
        "export",
        help="pack trained runs into a bundle",
        description="Pack trained runs, their backbone and encoders into one folder that works on any machine. The "
        "first run becomes the default adapter. The folder is laid out as a model of the Hugging Face hub.",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN_DIR", help="models/adapters/<dataset>/<task>/<strategy>/k32-s0, or several"
    )
    parser.add_argument("out", metavar="OUT_DIR", help="the bundle's folder: new, empty, or a bundle to replace")
    parser.add_argument(
        "--without-encoders",
        action="store_true",
        help="leave out the encoders' weights, where they are public; `fetch` brings them",
    )
    parser.add_argument(
        "--licence",
        default="other",
        help="of the models, by the hub's name for it, as apache-2.0 (default: %(default)s)",
    )
    parser.set_defaults(run=export)

    parser = commands.add_parser(
        "info", help="the card of a bundle", description="Check a bundle's files and print its card."
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle, or owner/name on the hub")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=info)

    parser = commands.add_parser(
        "fetch",
        help="download the encoders' weights that a bundle lacks",
        description="Download the public weights of encoders into a bundle that was packed without them.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle")
    parser.set_defaults(run=fetch)

    parser = commands.add_parser(
        "push",
        help="put a bundle or an adapter on the Hugging Face hub",
        description="Put a bundle, or the folder of an adapter, on the Hugging Face hub, as one commit with its model "
        "card. Log in by `hf auth login` before, or set HF_TOKEN.",
    )
    parser.add_argument("folder", metavar="BUNDLE", help="folder of a bundle or of an adapter")
    parser.add_argument("name", metavar="OWNER/NAME", help="of the repository, which is made where there is none")
    parser.add_argument("--private", action="store_true", help="none but its owner may read it")
    parser.set_defaults(run=push)


def export(options: argparse.Namespace) -> int:
    """Pack runs."""
    from read.bundle import export as pack

    bundle = pack(options.runs, options.out, weights=not options.without_encoders, licence=options.licence)
    for task in bundle.tasks:
        print(f"{task}: {', '.join(bundle.adapters(task))}")
    for task, content in bundle.config["card"]["tasks"].items():
        for name in (name for name, adapter in content["adapters"].items() if adapter["untrained"]):
            print(
                f"note: {task}, {name}: its training gained no more than chance does, so the untuned state was "
                "kept, and what is exported is the model without training",
                file=sys.stderr,
            )
    size = sum(path.stat().st_size for path in bundle.folder.rglob("*") if path.is_file())
    print(f"{bundle.folder}: {size / 1e6:.1f} MB")
    return 0


def info(options: argparse.Namespace) -> int:
    """Print a card."""
    from read.bundle.card import body
    from read.bundle.folder import MODEL, Bundle, origin_of

    bundle = Bundle.open(options.bundle)
    if options.json:
        print(json.dumps(bundle.config["card"], ensure_ascii=False))
        return 0
    print(body(bundle.config["card"]))
    print("## Encoders\n")
    for name in bundle.encoders:
        here = all(Path(bundle.folder, "encoders", name, file).is_file() for file in MODEL)
        print(f"{name}: {origin_of(bundle, name)}{'' if here else '; not here, `fetch` brings it'}")
    return 0


def fetch(options: argparse.Namespace) -> int:
    """Download weights."""
    from read.bundle.fetch import fetch as bring

    bring(options.bundle)
    return 0


def push(options: argparse.Namespace) -> int:
    """Put a folder on the hub."""
    from read.bundle.push import push as put

    print(put(options.folder, options.name, private=options.private))
    return 0
