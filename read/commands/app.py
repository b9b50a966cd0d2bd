"""`read-adapters app`: the page in the browser."""

import argparse


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "app", help="a page in the browser", description="Serve a page that answers questions about a video."
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle, or owner/name on the hub")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; by default this machine only sees it"
    )
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda")
    parser.add_argument("--max-mb", type=float, default=1024, help="largest file taken, in MiB (default: %(default)g)")
    parser.add_argument("--max-minutes", type=float, default=60, help="longest video taken (default: %(default)g)")
    parser.add_argument(
        "--max-disk-gb", type=float, default=20, help="of all uploads together, in GiB (default: %(default)g)"
    )
    parser.add_argument("--open", action="store_true", help="show the page in this machine's browser")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until stopped."""
    from read.app import serve

    limits = {
        "max_bytes": round(options.max_mb * 1024**2), "max_seconds": options.max_minutes * 60,
        "max_disk": round(options.max_disk_gb * 1024**3),
    }  # fmt: skip
    serve(options.bundle, options.host, options.port, **limits, device=options.device, open_browser=options.open)
    return 0
