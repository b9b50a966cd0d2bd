"""`read-adapters predict`: moments, highlights and summaries of videos."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from read.bundle.folder import Bundle
from read.commands.formats import FORMATS, SUFFIX, Asked, Found, Result, csv_head
from read.devices import take_device
from read.encoders.light import import_encoders
from read.errors import InputError, show_everything
from read.files import write_text

if TYPE_CHECKING:
    from read.predictor import Predictor
    from read.speech import Transcriber

TELLING = ("table", "json")  # formats that say which words of a query are unknown
EXAMPLES = """examples:
  read-adapters predict --bundle my-bundle --query "the dog jumps over the fence" party.mp4
  read-adapters predict --bundle my-bundle --queries queries.txt --format json *.mp4 | jq .moments
  read-adapters predict --bundle my-bundle --query "a goal" --top 3 --clips goals match.mp4
  read-adapters predict --bundle my-bundle --query "a goal" --format chapters --out marks.txt match.mp4
      ffmpeg -i match.mp4 -i marks.txt -map_chapters 1 -codec copy with-chapters.mp4
  read-adapters predict --bundle my-bundle --summary --transcript talk.vtt talk.mp4
  read-adapters predict --bundle my-bundle --summary --transcribe small --language en talk.mp4

A video that cannot be read is told on stderr, the others are done, and the exit status is 1."""


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "predict",
        help="moments that sentences describe, and summaries",
        description="Find the moments of videos that sentences describe, or say what videos are about.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="any file that ffmpeg reads")
    parser.add_argument(
        "--bundle",
        default=os.environ.get("READ_BUNDLE"),
        metavar="DIR",
        help="the model, a folder or owner/name on the hub; else $READ_BUNDLE",
    )
    parser.add_argument("--adapter", metavar="NAME", help="one of the bundle's; by default its first")
    asked = parser.add_argument_group("what to ask")
    asked.add_argument("--query", action="append", default=[], metavar="TEXT", help="a sentence; may be given again")
    asked.add_argument("--queries", metavar="FILE", help="sentences, one a line; - is stdin")
    asked.add_argument("--summary", action="store_true", help="say what the video is about")
    asked.add_argument(
        "--transcript", metavar="PATH", help="what is said, for --summary: .srt, .vtt, plain text, or a folder of them"
    )
    asked.add_argument(
        "--transcribe",
        metavar="MODEL",
        help="hear what is said, for --summary: a name of faster-whisper's, as small, or a folder with one",
    )
    asked.add_argument("--language", metavar="CODE", help="that is spoken, for --transcribe, as en; by default found")
    told = parser.add_argument_group("how to tell it")
    told.add_argument(
        "--format",
        choices=sorted(FORMATS),
        default="table",
        help="table for people, json (an object a line) and csv for programs, srt (subtitles) and chapters "
        "(ffmetadata) for players",
    )
    told.add_argument("--out", metavar="PATH", help="file in stdout's place; a folder, for subtitles of several videos")
    told.add_argument("--top", type=_positive, default=5, metavar="N", help="most moments per query (default: 5)")
    told.add_argument(
        "--confident",
        action="store_true",
        help="only moments whose score reaches the bar chosen on validation videos; none: not in this video",
    )
    told.add_argument("--clips", metavar="DIR", help="cut the moments out of the videos into this folder")
    told.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("--device", default="auto", help="auto (a free GPU where there is one), cpu, cuda, cuda:1")
    parser.add_argument("--encoders", metavar="DIR", help="the encoders' weights, where the bundle has none")
    parser.add_argument("--cache", metavar="DIR", help="keep encoded videos here; the next time they are not read anew")
    parser.set_defaults(run=run, usage_error=parser.error)


def run(options: argparse.Namespace) -> int:
    """Predict; 1 where a video failed."""
    queries = options.query + (read_queries(options.queries) if options.queries else [])
    _check(options, queries)
    if options.format != "table":
        show_everything("utf-8")  # what programs read, whatever the terminal shows
    if empty := [number for number, query in enumerate(queries, 1) if not query.strip()]:
        raise InputError(f"query {empty[0]} of {len(queries)} is empty; a few words are due")
    transcripts = _transcripts(options)
    bundle = Bundle.open(options.bundle)
    import_encoders(bundle.features["encoders"])
    if options.device == "auto":
        take_device()
    from read.predictor import Predictor

    predictor = Predictor.from_bundle(
        bundle, options.device, options.adapter, encoders=options.encoders, cache_dir=options.cache
    )
    tasks = {"grounding": bool(queries), "summarization": options.summary}
    for task in (task for task, wanted in tasks.items() if wanted):
        predictor.adapter_for(task, options.adapter)  # says what is lacking before anything is encoded
    if options.format not in TELLING:
        for query in queries:
            if unknown := predictor.unknown_words(query):
                print(f"note: {query}: unknown to this model: {', '.join(unknown)}", file=sys.stderr)
    ear = _ear(options, predictor.device)
    shown, failed = [], 0
    if options.format == "csv":
        _show(csv_head(), options, shown)
    for video in options.videos:
        try:
            said = listen(ear, video) if ear else transcripts.get(video, "")
            result = ask(predictor, video, queries, options, said)
            _show(FORMATS[options.format](result), options, shown, video)
        except InputError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    if options.out and not _one_each(options) and failed < len(options.videos):
        write_text(options.out, "".join(shown))
    if failed and len(options.videos) > 1:
        print(f"error: {failed} of {len(options.videos)} videos failed", file=sys.stderr)
    return 1 if failed else 0


def ask(
    predictor: "Predictor", path: str, queries: list[str], options: argparse.Namespace, transcript: str = ""
) -> Result:
    """All that was asked of one video, its clips cut."""
    with _progress(path, options.quiet) as report:
        video = predictor.encode(path, report)
    if video.told:
        print(f"note: {path}: {video.told}", file=sys.stderr)
    result = Result(path, video.duration, video.clip_len)
    if queries:
        result.adapter, bar = predictor.adapter_for("grounding"), predictor.threshold()
        result.threshold, result.caution = bar, predictor.caution()
        if options.confident and bar is None:
            print(
                "note: too few queries of its validation videos were answered right for a bar, so --confident leaves "
                "nothing out",
                file=sys.stderr,
            )
        for answer in video.answer(queries):
            moments = [Found(*moment, bar is None or moment.score >= bar) for moment in answer.moments]
            present = bar is None or any(moment.confident for moment in moments)
            if options.confident:
                moments = [moment for moment in moments if moment.confident]
            unknown = predictor.unknown_words(answer.query)
            result.asked.append(Asked(answer.query, moments[: options.top], answer.saliency, present, unknown))
        if options.clips:
            cut_moments(result, Path(options.clips), 0.5 / predictor.extractor.settings.fps)
    if options.summary:
        result.summary = video.summary(transcript)
    return result


def listen(ear: "Transcriber", path: str) -> str:
    """What is said in a video; what was heard, or why nothing was, is told on stderr."""
    heard = ear.listen(path)
    text = " ".join(cue.text for cue in heard.cues)
    if text:
        print(f"note: {path}: heard, in {heard.language}: {text}", file=sys.stderr)
    if heard.told:
        print(f"note: {path}: {heard.told}", file=sys.stderr)
    return text


def cut_moments(result: Result, folder: Path, slack: float) -> None:
    """Write each moment to a file of its own, named by video, query and rank; `slack`: half a step of the sampling."""
    from read.encoders.cut import cut

    for number, asked in enumerate(result.asked, 1):
        for rank, moment in enumerate(asked.moments, 1):
            out = folder / f"{Path(result.video).stem}-{number:02}-{rank:02}.mp4"
            cut(result.video, moment.start, moment.end, out, slack=slack)
            moment.clip = str(out)


def read_queries(path: str) -> list[str]:
    """Sentences of a file, one a line; blank lines are passed over.

    Raises:
        InputError: it is absent, no UTF-8, or holds none.
    """
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text in UTF-8 ({error})") from None
    queries = [line.strip() for line in text.splitlines() if line.strip()]
    if not queries:
        raise InputError(f"{path}: holds no query; one a line is due")
    return queries


def _check(options: argparse.Namespace, queries: list[str]) -> None:
    """End with wrong usage where options do not go together."""
    stop = options.usage_error
    if not options.bundle:
        stop("no model: --bundle DIR, or READ_BUNDLE in the environment")
    if not queries and not options.summary:
        stop("nothing is asked: --query, --queries or --summary")
    if options.summary and options.format not in ("table", "json"):
        stop(f"--format {options.format} has no place for a summary; take table or json")
    if options.transcript and not options.summary:
        stop("--transcript goes with --summary")
    if options.transcribe and not options.summary:
        stop("--transcribe goes with --summary")
    if options.transcribe and options.transcript:
        stop("--transcribe is for videos without a --transcript")
    if options.language and not options.transcribe:
        stop("--language goes with --transcribe")
    if options.transcript and len(options.videos) > 1 and not Path(options.transcript).is_dir():
        stop("--transcript: for several videos, a folder of files named as they are")
    if (options.clips or options.format in SUFFIX) and not queries:
        stop("--clips, srt and chapters go with --query or --queries")
    if _one_each(options) and not options.out:
        stop(f"--format {options.format} is of one video; for several, --out names a folder")
    twice = [stem for stem, count in Counter(Path(video).stem for video in options.videos).items() if count > 1]
    if twice and (options.clips or _one_each(options)):
        stop(f"two videos are called {twice[0]}; their files would have one name")


def _ear(options: argparse.Namespace, device: str) -> "Transcriber | None":
    if not options.transcribe:
        return None
    from read.speech import Transcriber

    return Transcriber(options.transcribe, options.language, device)


def _transcripts(options: argparse.Namespace) -> dict[str, str]:
    """What is said in each video. Raises InputError for a file that is absent or no good."""
    if not options.transcript:
        return {}
    from read.data.transcripts import load_transcript

    def text_of(path: Path) -> str:
        if path.suffix.lower() in (".srt", ".vtt"):
            return load_transcript(path)
        try:
            return path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not a text in UTF-8 ({error})") from None

    path = Path(options.transcript)
    if not path.is_dir():
        return {options.videos[0]: text_of(path)}
    texts = {}
    for video in options.videos:
        files = [path / f"{Path(video).stem}{suffix}" for suffix in (".srt", ".vtt", ".txt")]
        if not (found := [file for file in files if file.is_file()]):
            raise InputError(
                f"{path}: no transcript of {video}, as {files[0].name}, {files[1].name} or {files[2].name}"
            )
        texts[video] = text_of(found[0])
    return texts


def _one_each(options: argparse.Namespace) -> bool:
    """Whether each video gets a file of its own."""
    return options.format in SUFFIX and len(options.videos) > 1


def _show(text: str, options: argparse.Namespace, shown: list[str], video: str = "") -> None:
    """On stdout at once; or to a file, at the end or one for each video."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")  # names of files may hold bytes that are no text
    if _one_each(options):
        write_text(Path(options.out, Path(video).stem + SUFFIX[options.format]), text)
    elif options.out:
        shown.append(text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def _progress(path: str, quiet: bool) -> Iterator:
    """A bar on stderr, where that is a terminal."""
    from tqdm import tqdm

    form = "{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]"
    with tqdm(desc=Path(path).name, total=None, disable=True if quiet else None, leave=False) as bar:

        def report(done: float, total: float | None) -> None:
            if total:
                bar.total, bar.bar_format = total, form
            bar.update(done - bar.n)

        yield report


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is none; 1 or more")
    return number
