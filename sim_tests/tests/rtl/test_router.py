# SPDX-License-Identifier: Apache-2.0
"""The router: every route against the table of the contract, one cycle a hop, and the barrier of tokens."""

from collections.abc import Sequence
from itertools import pairwise

import pytest

from emu.spec import SystemSpec, preset
from emu.words import Kind
from rtl.router import FED_BY, Router
from sim_tests.bench.block_player import Row, flit, parse, play, widths

SPEC = SystemSpec(core=preset("tiny"), width=3, height=3)
N, E, S, W, L = range(5)
ALL = 0b11111
EVENTS = ["hops", "token_hops", "errors"]
WATCH = [f"o.{o}.valid" for o in range(5)] + [f"o.{o}.payload" for o in range(5)] + EVENTS
READY = {f"o.{o}.ready": 1 for o in range(5)}
CENTRE = {"x": 1, "y": 1, "present_in": ALL, "present_out": ALL}
FEEDS = {N: "SL", E: "SWNL", S: "NL", W: "ESNL", L: "ESWNL"}
"""Input -> outputs it may reach, read off docs/reference/network.md."""

Rectangle = tuple[int, int, int, int]


def routes(i: int, x: int, y: int, rectangle: Rectangle) -> set[int]:
    """Return the outputs that the table of docs/reference/network.md names."""
    x0, x1, y0, y1 = rectangle
    column = {S: y1 > y, N: y0 < y, L: y0 <= y <= y1}
    table = {E: x1 > x and i in (L, W), W: x0 < x and i in (L, E)}
    if i in (N, S):
        table |= {S: i == N and y1 > y, N: i == S and y0 < y, L: y0 <= y <= y1}
    elif x0 <= x <= x1:
        table |= column
    return {o for o, wanted in table.items() if wanted}


def spike(rectangle: Rectangle = (1, 1, 1, 1), data: int = 0, kind: Kind = Kind.SPIKE) -> int:
    return flit(SPEC, kind=kind, data=data, **dict(zip(("x0", "x1", "y0", "y1"), rectangle, strict=True)))


EAST, WEST, LOCAL = (2, 2, 1, 1), (0, 0, 1, 1), (1, 1, 1, 1)
SOUTH, NORTH, ABOVE = (1, 1, 2, 2), (1, 1, 0, 0), (1, 1, 0, 1)
TOKEN, PAUSE = flit(SPEC, kind=Kind.TOKEN), flit(SPEC, kind=Kind.TOKEN, data=1)


def send(**flits: int) -> dict[str, int]:
    """Return the inputs that offer a flit at each named port."""
    row: dict[str, int] = {}
    for name, word in flits.items():
        row |= {f"i.{'NESWL'.index(name)}.valid": 1, f"i.{'NESWL'.index(name)}.payload": word}
    return row


def stop(ports: str) -> dict[str, int]:
    return {f"o.{'NESWL'.index(port)}.ready": 0 for port in ports}


def run(rows: Sequence[Row], **straps: int) -> list[dict[str, int]]:
    return play(Router(SPEC), rows, WATCH, hold=READY | CENTRE | straps)


def leaving(rows: Sequence[Row], **straps: int) -> list[str]:
    """Return what is offered in each cycle: a port with a packet's data, or ``*`` or ``!`` for a token."""
    out = []
    for cycle in run([*rows, {}, {}], **straps):
        words = {o: parse(SPEC, cycle[f"o.{o}.payload"]) for o in range(5) if cycle[f"o.{o}.valid"]}
        text = {o: str(v["data"]) if v["kind"] != Kind.TOKEN else "*!"[v["data"]] for o, v in words.items()}
        out.append(" ".join("NESWL"[o] + text[o] for o in words))
    return out


@pytest.mark.parametrize("port", "NESWL")
def test_route_of_every_rectangle(port: str) -> None:
    """All rectangles, the empty ones too, follow each other through one input without a gap."""
    rectangles = [(a, b, c, d) for a in range(3) for b in range(3) for c in range(4) for d in range(4)]
    rows: list[Row] = [send(**{port: spike(r, n)}) for n, r in enumerate(rectangles)]
    cycles = run([*rows, {}])[1:]
    for number, (rectangle, cycle) in enumerate(zip(rectangles, cycles, strict=True)):
        wanted = routes("NESWL".index(port), 1, 1, rectangle)
        assert {o for o in range(5) if cycle[f"o.{o}.valid"]} == wanted, rectangle
        assert all(cycle[f"o.{o}.payload"] == spike(rectangle, number) for o in wanted)
        assert (cycle["errors"], cycle["hops"]) == (not wanted, len(wanted - {L}))


@pytest.mark.parametrize(("x", "y"), [(0, 0), (2, 2), (0, 2), (2, 0)])
def test_route_depends_on_the_own_place(x: int, y: int) -> None:
    rectangles = [(0, 2, 0, 2), (0, 0, 0, 0), (2, 2, 2, 2), (0, 1, 1, 3), (1, 2, 0, 1)]
    cycles = run([*(send(L=spike(r)) for r in rectangles), {}], x=x, y=y)[1:]
    got = [{o for o in range(5) if cycle[f"o.{o}.valid"]} for cycle in cycles]
    assert got == [routes(L, x, y, r) for r in rectangles]


@pytest.mark.parametrize("port", "NESWL")
def test_route_in_a_mesh_of_512_by_512_compares_all_bits(port: str) -> None:
    spec = SystemSpec(core=preset("tiny"), width=512, height=512)
    lows, x, y = [0, 1, 255, 256, 383, 384, 385, 510, 511], 384, 385
    rectangles = [(a, b, c, d) for a, b in pairwise(lows) for c, d in pairwise([*lows, 512])]
    rectangles += [(a, a, c, c) for a in (128, x, 511) for c in (129, y, 512)]
    rows: list[Row] = []
    for rectangle in rectangles:
        places = dict(zip(("x0", "x1", "y0", "y1"), rectangle, strict=True))
        rows.append(send(**{port: flit(spec, kind=Kind.SPIKE, **places)}))
    straps = {"x": x, "y": y, "present_in": ALL, "present_out": ALL}
    cycles = play(Router(spec), [*rows, {}], WATCH, hold=READY | straps)[1:]
    for rectangle, cycle in zip(rectangles, cycles, strict=True):
        wanted = routes("NESWL".index(port), x, y, rectangle)
        assert {o for o in range(5) if cycle[f"o.{o}.valid"]} == wanted, rectangle


def test_fed_by_is_the_table_of_the_contract() -> None:
    assert {o: tuple(i for i in range(5) if "NESWL"[o] in FEEDS[i]) for o in range(5)} == FED_BY


def test_packet_hop_takes_one_cycle() -> None:
    assert leaving([send(W=spike(EAST, 7))]) == ["", "E7", ""]


def test_blocked_packet_waits_behind_its_output() -> None:
    rows = [send(W=spike(EAST, 1)), stop("E"), stop("E"), {}]
    assert leaving(rows) == ["", "", "", "E1", "", ""]


def test_fork_serves_each_output_when_it_is_free() -> None:
    rows = [send(W=spike((0, 2, 0, 2), 5)), stop("EN"), stop("E"), stop("SE"), {}]
    assert leaving(rows) == ["", "S5 L5", "N5", "", "E5", "", ""]


def test_packet_behind_a_fork_waits_until_all_copies_left() -> None:
    rows = [send(W=spike((1, 2, 1, 1), 1)), send(W=spike(LOCAL, 2)) | stop("E"), stop("E"), {}]
    assert leaving(rows) == ["", "L1", "", "E1", "L2", ""]


def test_input_holds_two_flits_and_refuses_a_third() -> None:
    rows = [send(W=spike(EAST, n)) | stop("E") for n in (1, 2, 3)]
    rows += [send(W=spike(EAST, 4)), {}, {}]
    ready = play(Router(SPEC), rows, ["i.3.ready"], hold=READY | CENTRE)
    assert [c["i.3.ready"] for c in ready] == [1, 1, 0, 0, 1, 1]
    assert leaving(rows) == ["", "", "", "E1", "E2", "", "", ""]


def test_round_robin_begins_with_north_and_goes_round() -> None:
    five: Row = send(**{port: spike(LOCAL, n) for n, port in enumerate("NESWL")})
    assert leaving([five, five, *[{}] * 9])[1:11] == ["L0", "L1", "L2", "L3", "L4"] * 2


def test_round_robin_goes_on_after_the_granted_input() -> None:
    rows = [send(S=spike(LOCAL, 2)), send(N=spike(LOCAL, 0), W=spike(LOCAL, 3)), {}]
    assert leaving(rows)[1:4] == ["L2", "L3", "L0"]
    rows = [send(L=spike(LOCAL, 4)), send(N=spike(LOCAL, 0), L=spike(LOCAL, 5)), {}]
    assert leaving(rows)[1:4] == ["L4", "L0", "L5"]


@pytest.mark.parametrize("output", "NESW")
def test_round_robin_of_each_output(output: str) -> None:
    target = dict(zip("NESW", (NORTH, EAST, SOUTH, WEST), strict=True))[output]
    inputs = [p for p in "NESWL" if output in FEEDS["NESWL".index(p)]]
    rows = [send(**{p: spike(target, "NESWL".index(p)) for p in inputs}), *[{}] * 5]
    assert [o for o in leaving(rows) if o] == [f"{output}{'NESWL'.index(p)}" for p in inputs]


def test_refused_packet_does_not_move_the_pointer() -> None:
    rows = [send(N=spike(LOCAL, 0), S=spike(LOCAL, 2)) | stop("L"), stop("L"), stop("L"), {}]
    assert leaving(rows)[1:5] == ["", "", "L0", "L2"]


def test_link_sees_no_offer_that_is_not_taken() -> None:
    """N asks while W is refused, and goes first: the link never saw W's flit."""
    rows = [send(W=spike(SOUTH, 3)), stop("S") | send(N=spike(SOUTH, 0)), stop("S"), {}, {}]
    assert leaving(rows)[1:5] == ["", "", "S0", "S3"]


LAST: dict[str, int] = {"x": 0, "y": 2, "outlet": 1}
OUT, BACK = (0, 0, 3, 3), spike((0, 0, 3, 3), 7, Kind.REPLY)


def test_outlet_to_the_host_offers_before_it_is_taken() -> None:
    rows = [send(L=spike(OUT, 4)), stop("S"), stop("S"), {}, {}]
    assert leaving(rows, **LAST)[1:5] == ["S4", "S4", "S4", ""]


@pytest.mark.parametrize(("port", "place"), [("E", (1, 1, 2, 2)), ("N", (0, 0, 1, 1)), ("L", (0, 0, 2, 2))])
def test_no_other_output_beside_the_outlet_offers_what_is_not_taken(
    port: str, place: tuple[int, int, int, int]
) -> None:
    rows = [send(W=spike(place, 4)), stop(port), stop(port), {}, {}]
    assert leaving(rows, **LAST)[1:5] == ["", "", f"{port}4", ""]


def test_outlet_to_the_host_prefers_a_request_that_came_since() -> None:
    rows = [send(L=spike(OUT, 4)), stop("S") | send(N=spike(OUT, 0)), stop("S"), {}, {}]
    assert leaving(rows, **LAST)[1:5] == ["S4", "S0", "S0", "S4"]


def test_outlet_to_the_host_prefers_the_token_to_a_reply() -> None:
    straps = LAST | {"present_in": 1 << N | 1 << L, "present_out": 1 << S | 1 << L}
    rows = [tokens("L"), send(L=BACK), stop("S") | tokens("N"), stop("S"), stop("S"), {}, {}]
    assert [c.split()[0] if c else "" for c in leaving(rows, **straps)[2:7]] == ["S7", "S7", "S*", "S*", "S7"]


def tokens(ports: str, word: int = TOKEN) -> dict[str, int]:
    return send(**dict.fromkeys(ports, word))


def test_token_hop_takes_two_cycles_and_goes_everywhere() -> None:
    assert leaving([tokens("NESWL"), {}]) == ["", "", "N* E* S* W* L*", ""]


@pytest.mark.parametrize("output", range(5))
def test_output_waits_for_the_tokens_of_all_inputs_that_feed_it(output: int) -> None:
    name = "NESWL"[output]
    feeders = [p for p in "NESWL" if name in FEEDS["NESWL".index(p)]]
    for late in feeders:
        early = "".join(p for p in "NESWL" if p != late)
        seen = leaving([tokens(early), {}, {}, {}, tokens(late), {}])
        assert not any(f"{name}*" in cycle for cycle in seen[:6])
        assert f"{name}*" in seen[6]
    assert f"{name}*" in " ".join(leaving([tokens("".join(feeders)), {}]))


@pytest.mark.parametrize("port", "NESWL")
def test_pause_flags_are_ored_into_what_the_input_feeds(port: str) -> None:
    others = "NESWL".replace(port, "")
    seen = leaving([tokens(others) | tokens(port, PAUSE), {}])[2].split()
    assert sorted(seen) == sorted(o + ("!" if o in FEEDS["NESWL".index(port)] else "*") for o in "NESWL")


def test_pause_flag_of_an_early_token_is_kept() -> None:
    rows = [tokens("N", PAUSE), {}, {}, tokens("ESWL"), {}, {}]
    assert leaving(rows)[5] == "N* E* S! W* L!"


def test_pause_flag_is_forgotten_with_its_token() -> None:
    rows = [tokens("NESWL", PAUSE), {}, {}, tokens("NESWL"), {}]
    assert leaving(rows)[2::3][:2] == ["N! E! S! W! L!", "N* E* S* W* L*"]


def test_second_token_of_an_input_waits_for_the_first() -> None:
    rows = [tokens("N"), tokens("N"), {}, {}, tokens("ESWL"), {}, {}, tokens("ESWL"), {}, {}]
    seen = leaving(rows)
    assert [i for i, cycle in enumerate(seen) if "L*" in cycle] == [6, 9]
    assert [i for i, cycle in enumerate(seen) if "S*" in cycle] == [6, 9]


def test_packet_of_an_input_taken_is_blocked_until_the_token_left() -> None:
    rows = [tokens("N"), send(N=spike(LOCAL, 7)), {}, {}, tokens("ESWL"), {}, {}]
    assert leaving(rows) == ["", "", "", "", "", "", "N* E* S* W* L*", "L7", ""]


def test_reply_passes_an_input_taken() -> None:
    rows = [tokens("N"), {}, send(N=spike(LOCAL, 7, Kind.REPLY)), send(N=spike(LOCAL, 8, Kind.WRITE)), {}]
    assert leaving(rows) == ["", "", "", "L7", "", "", ""]


def test_packet_of_another_input_passes_while_a_token_waits() -> None:
    rows = [tokens("N"), {}, send(W=spike(LOCAL, 7)), {}]
    assert leaving(rows)[3] == "L7"


def test_fork_is_blocked_for_the_outputs_taken_only() -> None:
    rows = [tokens("NEWL"), {}, {}, send(N=spike((1, 1, 1, 2), 6)), {}, tokens("S"), {}, {}]
    assert leaving(rows) == ["", "", "E* S* W*", "", "S6", "", "", "N* L*", "L6", ""]


def test_complete_output_sends_nothing_but_its_token() -> None:
    rows = [tokens("NESWL"), {}, stop("L") | send(W=spike(LOCAL, 3)), stop("L"), stop("L"), {}, {}]
    assert leaving(rows)[2:7] == ["N* E* S* W*", "", "", "L*", "L3"]


def test_pointer_returns_to_north_with_the_token() -> None:
    rows = [
        send(W=spike(LOCAL, 3)),
        {},
        tokens("NESWL"),
        {},
        {},
        send(N=spike(LOCAL, 0), L=spike(LOCAL, 4)),
        {},
        {},
    ]
    assert [c for c in leaving(rows) if c] == ["L3", "N* E* S* W* L*", "L0", "L4"]


def test_token_of_absent_inputs_is_not_waited_for() -> None:
    seen = leaving([tokens("WL"), {}], present_in=1 << W | 1 << L)
    assert seen == ["", "", "N* E* S* W* L*", ""]


def test_absent_output_takes_and_sends_no_token() -> None:
    straps = {"present_in": 1 << W | 1 << L, "present_out": 1 << E | 1 << L}
    seen = leaving([tokens("WL"), {}, {}, tokens("WL"), {}, send(W=spike(EAST, 1)), {}], **straps)
    assert [c for c in seen if c] == ["E* L*", "E* L*", "E1"]


def test_token_that_feeds_absent_outputs_only_does_not_wait_for_them() -> None:
    seen = run([tokens("N"), tokens("N"), tokens("N"), {}, {}], present_out=1 << E)
    assert not any(cycle[f"o.{o}.valid"] for cycle in seen for o in range(5))
    ready = play(
        Router(SPEC), [tokens("N")] * 5, ["i.0.ready"], hold=READY | CENTRE | {"present_out": 1 << E}
    )
    assert [c["i.0.ready"] for c in ready] == [1] * 5


@pytest.mark.parametrize(("absent", "errors"), [("E", 1), ("EN", 2), ("ENSWL", 4), ("", 0)])
def test_copies_for_absent_outputs_are_sunk_and_counted_once(absent: str, errors: int) -> None:
    mask = ALL & ~sum(1 << "NESWL".index(o) for o in absent)
    rows = [send(W=spike((0, 2, 0, 2), 5)), stop("S"), stop("S"), {}, {}]
    cycles = run(rows, present_out=mask)
    assert [c["errors"] for c in cycles] == [0, errors, 0, 0, 0]
    assert sum(c["hops"] for c in cycles) == 3 - len(set("ENS") & set(absent))


def test_packet_with_only_absent_outputs_makes_way() -> None:
    rows = [send(W=spike(EAST, 1)), send(W=spike(LOCAL, 2)), {}]
    assert leaving(rows, present_out=ALL & ~(1 << E)) == ["", "", "L2", "", ""]


def test_packet_that_wants_no_output_is_sunk_at_once() -> None:
    rows = [send(W=spike(WEST, 1), N=spike(NORTH, 1)), send(W=spike(LOCAL, 2)), {}]
    assert leaving(rows) == ["", "", "L2", "", ""]
    assert [c["errors"] for c in run(rows)] == [0, 2, 0]


def test_errors_of_all_inputs_are_added() -> None:
    wide = {"N": (1, 1, 1, 2), "S": ABOVE, "E": (0, 1, 0, 2), "W": (1, 2, 0, 2), "L": (0, 2, 0, 2)}
    rows = [send(**{port: spike(rectangle) for port, rectangle in wide.items()}), {}]
    assert run(rows, present_out=1 << L)[1]["errors"] == 1 + 1 + 3 + 3 + 4


def test_counts_are_of_flits_that_leave_to_neighbours() -> None:
    rows = [
        send(W=spike((0, 2, 0, 2))),
        {},
        send(W=spike((0, 2, 0, 2), kind=Kind.WRITE)),
        {},
        tokens("NESWL"),
        {},
        {},
    ]
    assert [c["hops"] for c in run(rows)] == [0, 3, 0, 0, 0, 0, 0]
    assert [c["token_hops"] for c in run(rows)] == [0, 0, 0, 0, 0, 0, 4]
    held = run([send(W=spike(EAST)), stop("E"), tokens("NESWL") | stop("E"), {}, stop("NES"), stop("N"), {}])
    assert [c["hops"] for c in held] == [0, 0, 0, 1, 0, 0, 0]
    assert [c["token_hops"] for c in held] == [0, 0, 0, 0, 1, 2, 1]


def test_router_sizes() -> None:
    assert widths(Router(SPEC), "x", "y", "present_in", "i.4.payload", *EVENTS) == [2, 2, 5, 27, 3, 3, 4]
