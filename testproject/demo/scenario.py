"""The scenario: the steps in their order, whether the books agree at the end, and a day for the staff."""

import http.client
from collections.abc import Callable
from dataclasses import dataclass

from . import cards, doors, inbox, steps
from .books import money
from .day import a_day
from .play import Play
from .upkeep import upkeep


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    story: str
    run: Callable[[Play], None]


STEPS = (
    Step(
        "A payment",
        "The client chooses a key, and sends it with the payment.",
        steps.a_payment,
    ),
    Step(
        "A lost answer and its retry",
        "The client closes its socket before it has read the answer. It cannot know whether it has"
        " paid, so it sends the same again: it gets the answer that it lost.",
        steps.a_lost_answer,
    ),
    Step(
        "Ten parallel duplicates",
        "Ten copies of one payment arrive at the same moment. One is carried out.",
        steps.ten_duplicates,
    ),
    Step(
        "A changed amount under the same key",
        "A key stands for one payment. Another amount under it is the client's mistake: it is"
        " refused, and the first payment stays as it is.",
        steps.a_changed_amount,
    ),
    Step(
        "A declined card and its replay",
        "A decline is an outcome like any other: it is kept, and the card is not asked again.",
        steps.a_declined_card,
    ),
    Step(
        "A validation error, corrected under the same key",
        "A 400 has changed nothing, so nothing is kept and the key is still free.",
        steps.a_validation_error,
    ),
    Step(
        "A worker killed in the middle, and the retry",
        "SIGKILL hits the worker after its first write and after the gateway has charged. The"
        " database forgets the half-made payment; the gateway does not. The retry sends the gateway"
        " the same derived key, so it finishes the payment without a second charge.",
        steps.a_killed_worker,
    ),
    Step(
        "A refund and its replay",
        "Money that goes out is protected like money that comes in.",
        steps.a_refund,
    ),
    Step(
        "The same key from another merchant",
        "Keys belong to whoever sends them. Two merchants who choose the same one notice nothing.",
        steps.another_merchant,
    ),
    Step(
        "A key after its retention",
        "This view keeps its answers for one second. After that the answer is gone, but the key is"
        " remembered: a late retry is refused and does not pay again.",
        steps.an_expired_key,
    ),
    Step(
        "A webhook delivered twice",
        "The gateway reports a payment at a terminal, and reports it again. The event's id is the key, whatever"
        " else is in the body; the signature is checked each time, before the id is.",
        doors.a_webhook,
    ),
    Step(
        "A form submitted twice",
        "A browser has no header to send. A hidden field of the form is the key: whoever clicks twice pays once,"
        " and sees one receipt.",
        doors.a_form,
    ),
    Step(
        "An incident for the staff",
        "What went wrong is kept for the people behind the API: here two payments under one key, side by"
        " side, with their card numbers masked.",
        inbox.an_incident,
    ),
    Step(
        "A payment through a gateway",
        "Over HTTP, and in three steps: a transaction that reserves the payment, the charge at the gateway, a"
        " transaction that records it. None is open while the gateway works; a journal says how far it came.",
        cards.a_card_payment,
    ),
    Step(
        "Four workers killed in four gateway payments",
        "SIGKILL before the charge, inside it, after it, and before it is recorded. No client comes back:"
        " idempotency_recover looks up what became of each charge, and finishes all four.",
        cards.four_dead_workers,
    ),
    Step(
        "Upkeep",
        "In the background, Celery purges answers past their retention, settles what dead workers have"
        " left, and closes the incidents that have healed. Here the worker is in the demo's own process.",
        upkeep,
    ),
)


def run(play: Play) -> bool:
    """Whether every expectation held."""
    for number, step in enumerate(STEPS, 1):
        play.report.title(f"{number}. {step.title}", step.story)
        try:
            step.run(play)
        except (OSError, http.client.HTTPException) as error:
            play.report.expect("the step to finish", False, repr(error))
    _close_the_books(play)
    a_day(play)
    play.report.verdict()
    return not play.report.failures


def _close_the_books(play: Play) -> None:
    play.report.title("The whole ledger", "Every key has moved its money once.")
    books = play.look()
    play.report.print()
    play.report.books(books, books)
    agree = books.balance == books.settled
    play.report.expect(
        "the ledger and the gateway agree",
        agree,
        f"{money(books.balance)} in the ledger, {money(books.settled)} at the gateway",
    )
