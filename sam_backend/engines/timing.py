"""Times a model's parts in several arithmetics, in a process of its own.

    python -m sam_backend.engines.timing ENCODER DECODER "openvino f32" "openvino bf16"

It counts what one thread computes, in seconds of the processor: a busy machine interrupts a thread,
and lets several of them wait for each other, but does not make a product take more work. When the
process ends, the machine has the memory of its sessions back. If the CPU lacks an instruction, the
process dies, and the server does not.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from sam_backend.engines.arithmetic import Arithmetic
from sam_backend.engines.click_decoder import CORES_A_DECODE, ClickDecoder
from sam_backend.engines.frame import MODEL_SIDE
from sam_backend.engines.graph import reader
from sam_backend.engines.graph.any_size_encoder import any_size
from sam_backend.engines.onnx_engine import is_small
from sam_backend.engines.sessions import open_session
from sam_backend.engines.trimmed_encoder import Array, Session

Run = Callable[[], object]
# Seconds of each round. What was not timed is left out.
Times = dict[Arithmetic, list[float]]

# Rows and columns of the picture: what is left of a square shows the same in a fraction of it.
_PICTURE = (192, MODEL_SIDE)
_ENCODES, _DECODES = 5, 11  # rounds, where the machine has time for them
_LEAST_ROUNDS = 3
_ENOUGH_S = 2.0


def in_turn(
    runs: Mapping[Arithmetic, Run],
    rounds: int,
    most_s: float = _ENOUGH_S,
    clock: Callable[[], float] = time.process_time,
) -> Times:
    """Seconds of each run, in turn, so that a machine that slows down slows all alike."""
    for run in runs.values():  # the first one of a size mostly allocates
        run()
    times: Times = {arithmetic: [] for arithmetic in runs}
    begin = time.perf_counter()
    for done in range(rounds):
        if done >= _LEAST_ROUNDS and time.perf_counter() - begin > most_s:
            break
        for arithmetic, run in runs.items():
            started = clock()
            run()
            times[arithmetic].append(clock() - started)
    return times


def encodes(
    encoder: Path,
    among: Sequence[Arithmetic],
    threads: int = 1,
    picture: tuple[int, int] = _PICTURE,
    rounds: int = _ENCODES,
    most_s: float = _ENOUGH_S,
    clock: Callable[[], float] = time.process_time,
) -> Times:
    """Times an encoder without its padding. Other encoders take too long to be timed at a start."""
    if reader.read_encoder(encoder).raw or not is_small(encoder):
        return {}
    try:
        trimmed = any_size(onnx.load(encoder))
    except ValueError:
        return {}
    random = np.random.default_rng(0)
    pixels = random.normal(0, 1, (1, 3, *picture)).astype(np.float32)

    def run(arithmetic: Arithmetic) -> Run:
        session = _opened(trimmed.model, arithmetic, threads)
        inputs: dict[str, Array] = {
            session.get_inputs()[0].name: pixels,
            **trimmed.inputs(*picture),
        }
        return lambda: session.run(None, inputs)

    return in_turn(_possible(run, among), rounds, most_s, clock)


def decodes(
    decoder: Path,
    among: Sequence[Arithmetic],
    threads: int = 1,
    rounds: int = _DECODES,
    most_s: float = _ENOUGH_S,
    clock: Callable[[], float] = time.process_time,
) -> Times:
    """Times a decoder that can be rebuilt for clicks."""
    gives = reader.read_decoder(decoder)

    def run(arithmetic: Arithmetic) -> Run:
        return ClickDecoder(
            gives.model,
            lambda graph: _opened(graph, arithmetic, threads, CORES_A_DECODE),
            gives.kind,
            gives.stability,
            shares_products=arithmetic.precision == "f32",
        ).example(points=2)

    try:
        return in_turn(_possible(run, among), rounds, most_s, clock)
    except (KeyError, ValueError, StopIteration):
        return {}


class _CannotError(Exception):
    """This CPU does not compute in that arithmetic."""


def _opened(
    model: onnx.ModelProto, arithmetic: Arithmetic, threads: int, cores_a_run: int | None = None
) -> Session:
    try:
        session = open_session(model, arithmetic, threads=threads, cores_a_run=cores_a_run)
    except RuntimeError as error:  # OpenVINO compiles no bf16 for AVX2 alone
        raise _CannotError from error
    if getattr(session, "precision", "f32") != arithmetic.precision:
        raise _CannotError
    return session


def _possible(
    run: Callable[[Arithmetic], Run], among: Sequence[Arithmetic]
) -> dict[Arithmetic, Run]:
    runs = {}
    for arithmetic in among:
        try:
            runs[arithmetic] = run(arithmetic)
        except _CannotError:
            continue
    return runs


def main(arguments: Sequence[str]) -> None:
    encoder, decoder, *names = arguments
    among = [Arithmetic.parse(name) for name in names]
    found = {
        "encode": encodes(Path(encoder), among),
        "decode": decodes(Path(decoder), among),
    }
    print(
        json.dumps({part: {str(a): t for a, t in times.items()} for part, times in found.items()})
    )


if __name__ == "__main__":
    main(sys.argv[1:])
