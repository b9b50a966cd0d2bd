"""What an adapter is made of: one config for Houlsby's adapter, AdaptFormer, ST-Adapter and READ."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from read.errors import InputError
from read.plugins import none_of, suggest

RECURRENT = ("rnn", "gru", "lstm", "mingru", "ema")
MIXERS = ("none", *RECURRENT, "conv")
PLACEMENTS = ("sequential", "parallel", "low_rank")
LINEAR = {"projection": 0.5, "joint": 2}  # places that are one linear layer, and the share of r that a branch has there
SUB_BLOCKS = ("feed_forward", "attention", *LINEAR)
PLACES = ("projection", "feed_forward", "joint")


@dataclass(frozen=True)
class AdapterConfig:
    """An adapter Y = base + scale * GELU(mixer(X W_down)) W_up around parts of a model.

    These are sub-blocks of a transformer's layers, or linear layers: those of the input projections, and the map into
    the joint space of pictures and sentences. Beside a linear layer the branch is always parallel.

    The default is READ in its residual form; `residual=False` is the paper's. `placement="low_rank"` is another form:
    Y = base + scale * B (z + alpha * mixer(z)), z = A X, beside each linear layer of a feed-forward block and after an
    attention block, whose output projection it so updates. A and B are LoRA's (Hu et al. 2022): no biases, B = 0 at
    the start. alpha is learned, one a channel, 0 at the start: there, and without a mixer, it is LoRA.

    Attributes:
        mixer: what runs over the tokens between the projections: none; rnn, gru or lstm; mingru or ema, recurrences
            that a scan computes for all tokens at once; or conv (depthwise).
        bottleneck: r, the width between the projections. Beside an input projection it is r / 2, rounded down but at
            least 1, in the joint space 2 r; the one size for all. In `low_rank` it is r everywhere, as LoRA's rank is.
        placement: `sequential`, X = base = the sub-block's output; `parallel`, X = the sub-block's input; `low_rank`,
            see above.
        scale: factor of the branch; in `low_rank` LoRA's alpha / r, whatever r is.
        residual: mixer(z) = z + cell(z) in place of cell(z).
        bidirectional: a second cell reads the tokens backwards and the two are added; not in causal layers, which have
            the one that reads forwards. Recurrent mixers only.
        kernel_size: width of the convolution, odd.
        after: the places that are adapted, any of projection, feed_forward, attention, joint. Those of a kind that the
            model lacks are passed over, as long as it has any.
        shared: one bottleneck for all places of the same kind of width.
        targets: glob patterns of module names (or of their ends) to adapt, instead of looking for sub-blocks. `*` is
            anything between two dots, `**` anything at all.
        causal: the `targets` are causal layers: no token may see a later one. Where the model says so itself, by its
            attention's `is_causal` or its config, it need not be said.

    Raises:
        InputError: naming all fields at fault.
    """

    mixer: str = "gru"
    bottleneck: int = 8
    placement: str = "sequential"
    scale: float = 1.0
    residual: bool = True
    bidirectional: bool = False
    kernel_size: int = 3
    after: tuple[str, ...] = PLACES
    shared: bool = False
    targets: tuple[str, ...] = ()
    causal: bool = False

    def __post_init__(self) -> None:
        for name in ("after", "targets"):  # JSON has lists only, and a single name is easily given bare
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value or ()))
        if faults := list(self._faults()):
            raise InputError("AdapterConfig: " + "; ".join(faults))

    def _faults(self) -> Iterable[str]:
        yield from _not_one_of("mixer", self.mixer, MIXERS)
        yield from _not_one_of("placement", self.placement, PLACEMENTS)
        for name in self.after:
            yield from _not_one_of("after", name, SUB_BLOCKS)
        if not self.after:
            yield "after names no place"
        for name in ("residual", "bidirectional", "shared", "causal"):
            if not isinstance(getattr(self, name), bool):
                yield f"{name} is {getattr(self, name)!r}, not true or false"
        for name in ("bottleneck", "kernel_size"):
            if not _is_integer(getattr(self, name)) or getattr(self, name) < 1:
                yield f"{name} is {getattr(self, name)!r}, not a whole number from 1"
        if _is_integer(self.kernel_size) and self.kernel_size % 2 == 0:
            yield f"kernel_size {self.kernel_size} is even: a token would have more neighbours on one side"
        if isinstance(self.scale, bool) or not isinstance(self.scale, int | float) or not 0 < self.scale < float("inf"):
            yield f"scale is {self.scale!r}, not a positive number"
        if self.bidirectional and self.mixer not in RECURRENT:
            yield f"bidirectional needs a recurrent mixer ({', '.join(RECURRENT)}), not {self.mixer}"
        if self.placement == "low_rank" and not self.residual:
            yield "residual cannot be false in low_rank, where alpha says how much of the cell is added"
        if self.causal and not self.targets:
            yield "causal is known of the layers that are found without targets"
        if not all(isinstance(name, str) for name in self.targets):
            yield f"targets are {self.targets!r}, not patterns of module names"

    def width_at(self, kind: str) -> int:
        """The width between the projections at a place of `kind`."""
        share = 1 if self.placement == "low_rank" else LINEAR.get(kind, 1)
        return max(1, int(share * self.bottleneck))

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config of `to_dict`. Raises InputError for a field that there is not, with the nearest."""
        check_keys(values, [field.name for field in fields(cls)], "AdapterConfig")
        return cls(**values)


def check_keys(values: Iterable[str], known: Iterable[str], owner: str) -> None:
    """Raise an InputError for the first of `values` that is not `known`, with the nearest that is."""
    known = sorted(known)
    for name in values:
        if name not in known:
            raise InputError(f"{owner} has no option {name!r}{suggest(name, known)}")


def _not_one_of(field: str, value: Any, known: tuple[str, ...]) -> Iterable[str]:
    if value not in known:
        yield f"{field} {none_of(value, known)}"


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
