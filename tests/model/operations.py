"""
A durable operation: workers that claim, call a gateway and write down, its clock, its upkeep and its staff.

One remote call, and then a phase that books it and enqueues a message. A mutation takes rules out: `keeps(rule)` is false
then. Each function of a worker is one statement, or one thing that happens outside of the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

PROCESSING, COMPLETED, UNKNOWN = "processing", "completed", "unknown"
APPROVED, DECLINED, NEVER, NOTHING = "approved", "declined", "never happened", "nothing to pay"
FREE, CRASH, LAPSE, LOSS, LAG, DOWN = range(-1, 5)
# Of the key of a call: the gateway honours it; only calls on their way are still in time; it is forgotten.
HONOURED, MARGIN, FORGOTTEN = range(3)
UNASKED, REQUESTED, ANSWERED = range(3)


class Record(NamedTuple):
    state: str = PROCESSING
    token: int = 1
    lapsed: bool = False
    answer: str | None = None


class Journal(NamedTuple):
    call: int = UNASKED
    name: str = ""
    """Of the step, as the release has it that wrote it down."""
    result: str | None = None
    booked: bool = False


class Gateway(NamedTuple):
    age: int = HONOURED
    known: tuple[tuple[Any, str], ...] = ()
    """What its look-up finds, by our key."""
    honoured: tuple[Any, ...] = ()
    """Keys that it will not charge again."""
    charges: int = 0
    air: tuple[tuple[Any, int], ...] = ()
    """Calls that are on their way: the key, and who waits for the answer."""


class Worker(NamedTuple):
    place: str = "claim"
    token: int = 0
    seen: Journal = Journal()
    late: bool = False
    """Its deadline to send has passed."""
    again: bool = False
    """What it sends may have been sent before."""
    asked: bool = False
    result: str | None = None


class State(NamedTuple):
    record: Record | None
    journal: Journal
    gateway: Gateway
    booked: int
    messages: int
    closed: int
    """How many operations under this key are over and forgotten."""
    workers: tuple[Worker, ...]
    left: tuple[int, ...]
    """Misfortunes: crashes, leases that run out, answers that are lost, look-ups that lag, look-ups that are down."""


class Move(NamedTuple):
    label: str
    state: State
    cost: int = FREE
    broken: str | None = None


@dataclass(frozen=True)
class Scenario:
    workers: tuple[str, ...] = ("old", "old")
    """Each one's release; "upkeep" claims nothing new."""
    left: tuple[int, ...] = (1, 1, 1, 0, 0)
    keys: bool = True
    """Whether the gateway honours keys."""
    declines: bool = False
    staff: bool = False
    forgets: bool = False
    """Whether the record is purged in the end, and its key used again."""
    without: frozenset[str] = frozenset()

    def keeps(self, rule: str) -> bool:
        return rule not in self.without


class Model:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.keeps = scenario.keeps

    def start(self) -> State:
        workers = tuple(Worker() for _ in self.scenario.workers)
        return State(None, Journal(), Gateway(), 0, 0, 0, workers, self.scenario.left)

    def moves(self, state: State) -> Iterator[Move]:
        for number, me in enumerate(state.workers):
            if not me.place.startswith("end"):
                for move in getattr(self, me.place.split()[0])(state, number, me):
                    yield move._replace(label=f"{number}: {move.label}")
                yield self.to(state, number, me._replace(place="end dead"), "dies")._replace(cost=CRASH)
        yield from self.deliveries(state)
        yield from self.time(state)
        if self.scenario.staff and state.record and state.record.state == UNKNOWN:
            yield from self.staff(state)

    def to(self, state: State, number: int, me: Worker, label: str = "", **changes: Any) -> Move:
        workers = (*state.workers[:number], me, *state.workers[number + 1 :])
        return Move(label or me.place, state._replace(workers=workers, **changes))

    # One worker.

    def claim(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        record, code = state.record, self.scenario.workers[number]
        if record is None:
            place = "end nothing to do" if code == "upkeep" else "request"
            new = {} if code == "upkeep" else {"record": Record()}
            if place == "request":
                # Its first row would collide with what an earlier operation has left.
                place = "postpone" if state.journal.call else self.first_place(Journal(), number)
            first = "send" if not self.keeps("requested before sending") and place == "request" else place
            yield self.to(state, number, me._replace(place=first, token=1), "claims", **new)
        elif record.state != PROCESSING or (not record.lapsed and self.keeps("a live lease is left alone")):
            yield self.to(state, number, me._replace(place=f"end {record.answer}"), "is told what there is")
        elif code == "upkeep" and not self.keeps("upkeep resumes"):
            yield self.to(state, number, me._replace(place="end nothing to do"), "passes by")
        else:
            token = record.token + (1 if self.keeps("a takeover raises the token") else 0)
            taken = record._replace(token=token, lapsed=False)
            move = self.to(state, number, me._replace(place="load", token=token), "takes over", record=taken)
            yield move if record.lapsed else move._replace(broken="somebody at work was robbed of its claim")

    def load(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        seen = state.journal
        yield self.to(state, number, me._replace(place=self.first_place(seen, number), seen=seen, result=seen.result))

    def first_place(self, seen: Journal, number: int) -> str:
        name = self.name(number)
        if seen.call and seen.name != name:
            if self.keeps("a changed step is parked" if name else "no end before the journal's"):
                return "park"
            return "request" if name else "complete"
        if not name:
            return "complete"
        if seen.call == UNASKED or not self.keeps("finished steps are not done again"):
            return "request"
        if seen.call == REQUESTED:
            return "lookup" if self.keeps("the look-up is asked first") else "resend"
        return self.after_call(seen)

    def after_call(self, seen: Journal) -> str:
        return "complete" if seen.booked or seen.result != APPROVED else "book"

    def request(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        written = Journal(REQUESTED, self.name(number))
        again = state.journal.call != UNASKED
        ready = me._replace(place="send", again=again and me.again)
        closed = "what a person knows never to have happened is sent" if state.journal.result == NEVER else None
        for move in self.fenced(state, number, me, ready, "writes down the call", journal=written):
            yield move._replace(broken=closed or move.broken)

    def send(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        if me.late and self.keeps("the deadline is asked before sending"):
            yield self.to(state, number, me._replace(place="postpone"), "is too late to send")
            return
        gateway = state.gateway
        broken = None
        if me.again and gateway.age != HONOURED:
            broken = "a call was sent again after the gateway may have forgotten its key"
        air = tuple(sorted((*gateway.air, (self.key(state, number, me), number))))
        booked = state.booked if self.keeps("no writes inside a call") else state.booked + 1
        move = self.to(
            state, number, me._replace(place="wait"), "sends", gateway=gateway._replace(air=air), booked=booked
        )
        yield move._replace(broken=broken)

    def name(self, number: int) -> str:
        """Of the remote step in a worker's release; empty where it has none."""
        return {"renamed": "charge_card", "removed": ""}.get(self.scenario.workers[number], "charge")

    def key(self, state: State, number: int, me: Worker) -> Any:
        """The same in every attempt, and under every operation of this client's key."""
        return (self.name(number), 0 if self.keeps("the key is derived from the operation") else me.token)

    def wait(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        """Its answer is a delivery. It may give up waiting, whatever became of the call."""
        place = "postpone" if self.keeps("a timeout is unknown") else "finish"
        if not self.keeps("what is put off has no answer"):
            place = "complete"
        result = DECLINED if place == "finish" else "later" if place == "complete" else None
        yield self.to(state, number, me._replace(place=place, result=result), "waits no longer")._replace(cost=LOSS)

    def finish(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        journal = state.journal._replace(call=ANSWERED, name=self.name(number), result=me.result)
        place = self.after_call(journal)
        if place == "book" and not self.keeps("booking is a phase"):
            place = "complete"
        yield from self.fenced(state, number, me, me._replace(place=place), "writes down the result", journal=journal)

    def book(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        done = {"journal": state.journal._replace(booked=True), "booked": state.booked + 1}
        if not self.keeps("no writes inside a call"):
            done["booked"] = state.booked
        if self.keeps("a message commits with its phase"):
            done["messages"] = state.messages + 1
        elif not me.place.endswith("sent"):
            sent = me._replace(place="book sent")
            yield self.to(state, number, sent, "sends the message", messages=state.messages + 1)
            return
        yield from self.fenced(state, number, me, me._replace(place="complete"), "books", **done)

    def complete(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        answer = me.result or NOTHING
        done = state.record and state.record._replace(state=COMPLETED, answer=answer)
        yield from self.fenced(state, number, me, me._replace(place=f"end {answer}"), "completes", record=done)

    def lookup(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        yield from self.fenced(state, number, me, me._replace(place="asking", asked=True), "extends its lease")

    def asking(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        found = dict(state.gateway.known).get(self.key(state, number, me))
        if found:
            yield self.to(state, number, me._replace(place="finish", result=found), "finds the call")
        cost = LAG if found else FREE
        yield self.to(state, number, me._replace(place="resend"), "finds nothing")._replace(cost=cost)
        yield self.to(state, number, me._replace(place="postpone"), "cannot ask")._replace(cost=DOWN)

    def resend(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        honoured = self.scenario.keys or not self.keeps("only a gateway with keys is sent it again")
        in_time = state.gateway.age == HONOURED or not self.keeps("nothing is sent again after key_ttl")
        ready = me._replace(place="send" if honoured and in_time else "park", again=True, late=False)
        yield from self.fenced(state, number, me, ready, "decides to " + ready.place)

    def postpone(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        free = state.record and state.record._replace(lapsed=True)
        changes: dict[str, Any] = {"record": free}
        if not self.keeps("what has failed is not released"):
            changes = {"record": None, "journal": Journal()}
        yield from self.fenced(state, number, me, me._replace(place="end later"), "puts it off", **changes)

    def park(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        parked = state.record and state.record._replace(state=UNKNOWN)
        moves = self.fenced(state, number, me, me._replace(place="end unknown"), "leaves it to a person", record=parked)
        asked = me.asked or self.name(number) != me.seen.name
        yield from (move if asked else move._replace(broken="it was left to a person without asking") for move in moves)

    def lost(self, state: State, number: int, me: Worker) -> Iterator[Move]:
        answer = state.record.answer if state.record else None
        if not self.keeps("a lost answer is discarded") and me.result:
            answer = me.result
        yield self.to(state, number, me._replace(place=f"end {answer}"), "has lost its claim, and reads")

    def fenced(
        self, state: State, number: int, me: Worker, after: Worker, label: str, **changes: Any
    ) -> Iterator[Move]:
        """A write that compares the fence, and lets the lease count from now."""
        record, write = state.record, me.place.split()[0]
        checked = me.place.endswith("checked")
        ours = record is not None and record.state == PROCESSING and record.token == me.token
        if not checked and not ours and self.keeps(f"the fence of {write}"):
            yield self.to(state, number, me._replace(place="lost"), "hits nothing")
            return
        if not checked and not self.keeps("the fence is a lock"):
            yield self.to(state, number, me._replace(place=f"{me.place} checked"), "reads the fence")
            return
        if record and record.state == PROCESSING and "record" not in changes:
            changes["record"] = record._replace(lapsed=False)
        move = self.to(state, number, after, label, **changes)
        yield move if ours else move._replace(broken="somebody whose claim is lost has written")

    # What happens to them.

    def deliveries(self, state: State) -> Iterator[Move]:
        for key, number in dict.fromkeys(state.gateway.air):
            air = list(state.gateway.air)
            air.remove((key, number))
            landed = state.gateway._replace(air=tuple(air))
            known = dict(landed.known)
            if self.scenario.keys and key in landed.honoured:
                yield from self.answered(state, landed, number, known[key])
                continue
            yield from self.answered(state, self.charged(landed, key, APPROVED), number, APPROVED)
            if self.scenario.declines:
                yield from self.answered(state, self.charged(landed, key, DECLINED), number, DECLINED)

    def charged(self, gateway: Gateway, key: Any, result: str) -> Gateway:
        known = tuple(sorted({**dict(gateway.known), key: result}.items()))
        honoured = tuple(sorted({*gateway.honoured, key}))
        return gateway._replace(known=known, honoured=honoured, charges=gateway.charges + (result == APPROVED))

    def answered(self, state: State, gateway: Gateway, number: int, result: str) -> Iterator[Move]:
        me = state.workers[number]
        label = f"the call of {number} arrives: {result}"
        if me.place != "wait":
            yield Move(label, state._replace(gateway=gateway))
            return
        yield self.to(state, number, me._replace(place="finish", result=result), label, gateway=gateway)
        lost = self.to(state, number, me, label + ", and its answer is lost", gateway=gateway)
        yield lost._replace(cost=LOSS)

    def time(self, state: State) -> Iterator[Move]:
        record = state.record
        if record and record.state == PROCESSING and not record.lapsed and self.may_lapse(state):
            dead = not any(me.token == record.token and not me.place.startswith("end") for me in state.workers)
            lapsed = state._replace(record=record._replace(lapsed=True), workers=self.late(state))
            yield Move("the lease runs out", lapsed, FREE if dead else LAPSE)
        if state.journal.call and state.gateway.age == HONOURED:
            yield Move("key_ttl is almost over", self.aged(state, MARGIN))
        if state.gateway.age == MARGIN and not state.gateway.air:
            yield Move("the gateway forgets the key", self.aged(state, FORGOTTEN))
        over = state.gateway.age == FORGOTTEN or not self.keeps("the key is remembered as long as the gateway does")
        if self.scenario.forgets and record and record.state == COMPLETED and over and not state.closed:
            yield self.forgotten(state)

    def may_lapse(self, state: State) -> bool:
        hung = any(me.place == "wait" for me in state.workers)
        return self.keeps("signs of life have a maximum") or not hung

    def late(self, state: State) -> tuple[Worker, ...]:
        """Whoever was about to send has missed its deadline."""
        return tuple(me._replace(late=True) if me.place.startswith("send") else me for me in state.workers)

    def aged(self, state: State, age: int) -> State:
        honoured = state.gateway.honoured if age < FORGOTTEN else ()
        return state._replace(gateway=state.gateway._replace(age=age, honoured=honoured), workers=self.late(state))

    def forgotten(self, state: State) -> Move:
        """The record is purged, and the client's key is free for another payment."""
        known = () if state.gateway.age == FORGOTTEN else state.gateway.known
        gateway = state.gateway._replace(age=HONOURED, known=known)
        journal = Journal() if self.keeps("the journal goes with its record") else state.journal
        workers = tuple(Worker() for _ in state.workers)
        after = state._replace(record=None, journal=journal, gateway=gateway, closed=1, workers=workers)
        return Move("the record is purged, and its key used again", after)

    def staff(self, state: State) -> Iterator[Move]:
        """A person settles it by what the gateway's books say, once nothing can be on its way."""
        record = state.record or Record()
        if self.keeps("a person waits until nothing is on its way"):
            if state.gateway.air:
                return
            state = state._replace(workers=self.late(state))
        known = [result for _, result in state.gateway.known]
        going_on = record._replace(state=PROCESSING, token=record.token + 1, lapsed=True)
        if known:
            settled = state.journal._replace(call=ANSWERED, result=known[0])
            yield Move(f"a person records: {known[0]}", state._replace(record=going_on, journal=settled))
        elif self.keeps("never happened is the end"):
            ended = record._replace(state=COMPLETED, answer=NEVER)
            yield Move("a person records: never happened", state._replace(record=ended))
        else:
            again = state._replace(record=going_on, journal=Journal(result=NEVER))
            yield Move("a person lets it be sent again", again)
