"""What can happen to a payment on a network that loses answers, one function for each."""

from testproject.payments.gateway import DECLINED_CARD

from .client import Answer, Call, poll
from .faults import ashes
from .play import Play

CROWD = 10


def a_payment(play: Play) -> None:
    answer = play.send(play.payment(2500))
    play.expect_answer(answer, 201)
    play.expect_books(ledger=[2500], gateway=[2500])


def a_lost_answer(play: Play) -> None:
    call = play.payment(1900)
    play.report.request(call)
    play.client.send_and_hang_up(call)
    play.report.line("answer", "nobody reads it: the client has closed its socket")
    poll(play.look, until=lambda books: len(books.entries) > len(play.last.entries))
    play.expect_books(ledger=[1900], gateway=[1900])
    answer = play.send(call, note="the same again")
    play.expect_answer(answer, 201, replayed=True)
    play.expect_books(ledger=[], gateway=[])


def ten_duplicates(play: Play) -> None:
    call = play.payment(1000)
    play.report.request(call, note=f"{CROWD} times at once")
    answers = play.client.send_together(call, CROWD)
    play.report.answers(answers)
    first = [answer for answer in answers if answer.status == 201 and not answer.replayed]
    refused = [answer for answer in answers if answer.code == "in-flight"]
    replayed = [answer for answer in answers if answer.replayed]
    play.report.expect("one 201 from the view itself", len(first) == 1, f"{len(first)}")
    others = len(refused) + len(replayed)
    play.report.expect("all others replayed or in flight", others == CROWD - 1, f"{others}")
    play.expect_books(ledger=[1000], gateway=[1000])
    if refused:
        replayed += _again(play, call, len(refused))
    same = [answer for answer in replayed if first and answer.body == first[0].body]
    play.report.expect("all others get the first answer", len(same) == CROWD - 1, f"{len(same)}")


def _again(play: Play, call: Call, count: int) -> list[Answer]:
    play.report.request(call, note=f"again, by the {count} that were refused")
    answers = [play.client.settle(call) for _ in range(count)]
    play.report.answers(answers)
    play.expect_books(ledger=[], gateway=[])
    return answers


def a_changed_amount(play: Play) -> None:
    call = play.payment(1200)
    first = play.send(call)
    play.expect_answer(first, 201)
    play.expect_books(ledger=[1200], gateway=[1200])
    answer = play.send(play.payment(9900, key=call.key))
    play.expect_answer(answer, 422, code="key-reused")
    answer = play.send(call, note="the first amount again")
    play.expect_answer(answer, 201, replayed=True)
    play.expect_same(answer, first)
    play.expect_books(ledger=[], gateway=[])


def a_declined_card(play: Play) -> None:
    call = play.payment(4400, card=DECLINED_CARD)
    first = play.send(call)
    play.expect_answer(first, 402)
    play.expect_books(ledger=[], gateway=[0])
    answer = play.send(call, note="the same again")
    play.expect_answer(answer, 402, replayed=True)
    play.expect_same(answer, first)
    play.expect_books(ledger=[], gateway=[])


def a_validation_error(play: Play) -> None:
    wrong = play.payment(-500)
    play.expect_answer(play.send(wrong), 400)
    play.expect_books(ledger=[], gateway=[])
    answer = play.send(play.payment(500, key=wrong.key), note="corrected, under the same key")
    play.expect_answer(answer, 201)
    play.expect_books(ledger=[500], gateway=[500])


def a_killed_worker(play: Play) -> None:
    call = play.payment(3100)
    play.report.request(call)
    _send_to_its_death(play, call)
    play.expect_books(ledger=[], gateway=[3100])
    unfinished = play.last.unfinished
    play.report.expect("no payment left half-made", unfinished == 0, f"{unfinished}")
    answer = play.send(call, note="the same again, to the worker's successor")
    play.expect_answer(answer, 201)
    play.expect_books(ledger=[3100], gateway=[])
    again = play.send(call, note="and once more")
    play.expect_answer(again, 201, replayed=True)
    play.expect_same(again, answer)
    play.expect_books(ledger=[], gateway=[])


def _send_to_its_death(play: Play, call: Call) -> None:
    play.fuse.touch()
    try:
        play.send_in_vain(call, by=play.client)
    finally:
        play.fuse.unlink(missing_ok=True)
    play.expect_a_death(int(ashes(play.fuse).read_text()))


def a_refund(play: Play) -> None:
    payment = play.send(play.payment(2000))
    play.expect_books(ledger=[2000], gateway=[2000])
    refund = play.post("/api/refunds/", {"payment": payment.data.get("id"), "amount": 700})
    first = play.send(refund)
    play.expect_answer(first, 201)
    play.expect_books(ledger=[-700], gateway=[-700])
    answer = play.send(refund, note="the same again")
    play.expect_answer(answer, 201, replayed=True)
    play.expect_same(answer, first)
    play.expect_books(ledger=[], gateway=[])


def another_merchant(play: Play) -> None:
    call = play.payment(800)
    first = play.send(call)
    play.expect_answer(first, 201)
    theirs = play.payment(600, key=call.key, account=play.other_account)
    answer = play.send(theirs, by=play.other_client, note="another merchant, the same key")
    play.expect_answer(answer, 201)
    play.expect_books(ledger=[800, 600], gateway=[800, 600])


def an_expired_key(play: Play) -> None:
    data = play.payment(1500).data or {}
    call = play.post(play.brief_payments, data)
    play.expect_answer(play.send(call), 201)
    play.expect_books(ledger=[1500], gateway=[1500])
    play.report.request(call, note="the same again, until it is no longer replayed")
    answers: list[Answer] = []
    poll(lambda: answers.append(play.client.settle(call)), until=lambda _: not answers[-1].replayed)
    *replays, answer = answers
    play.report.answers(replays)
    play.report.answer(answer)
    play.expect_answer(answer, 412, code="key-expired")
    play.expect_books(ledger=[], gateway=[])
