"""What is taken out of the gateways, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import OnSQLite, edit

ADAPTERS = "tests/gateways/test_adapters.py"
RESULTS = "tests/gateways/test_results.py"
AMOUNTS = "tests/gateways/test_amounts.py"
SENDING = "tests/gateways/test_sending.py"
JOURNAL = "tests/gateways/test_journal.py"
FAKE = "tests/gateways/test_fake.py"

in_answers = partial(edit, "gateways/answers.py")
in_amounts = partial(edit, "gateways/amounts.py")
in_sending = partial(edit, "gateways/sending.py")
in_journal = partial(edit, "gateways/journal.py")
in_stripe = partial(edit, "gateways/stripe.py")
in_adyen = partial(edit, "gateways/adyen.py")
in_paypal = partial(edit, "gateways/paypal.py")
in_square = partial(edit, "gateways/square.py")
in_checkout = partial(edit, "gateways/checkout.py")
in_example = partial(edit, "gateways/example.py")

MUTANTS = [
    OnSQLite(
        "a status that is not known is no approval",
        (in_answers("kind = kinds.get(told.status)", "kind = kinds.get(told.status, Approved)"),),
        (RESULTS, ADAPTERS),
        only="Judging or nobody_knows",
    ),
    OnSQLite(
        "money is as much as was asked",
        (in_answers("facts == (asked.amount, asked.currency)", "facts[1] == asked.currency"),),
        (RESULTS, ADAPTERS),
        only="Judging or another_amount",
    ),
    OnSQLite(
        "money is in the currency that was asked for",
        (in_answers("facts == (asked.amount, asked.currency)", "facts[0] == asked.amount"),),
        (RESULTS, ADAPTERS),
        only="Judging or another_currency",
    ),
    OnSQLite(
        "pending money is compared, too",
        (in_answers("kind not in (Approved, Pending, ActionRequired)", "kind is not Approved"),),
        (RESULTS,),
        only="Judging",
    ),
    OnSQLite(
        "an approval has a reference",
        (in_answers("if kind is Approved and not told.reference:", "if False:"),),
        (RESULTS,),
        only="Judging",
    ),
    OnSQLite(
        "two entries are not chosen from",
        (in_answers("if len(entries) > 1:", "if False:"),),
        (RESULTS, FAKE),
        only="two",
    ),
    OnSQLite(
        "a part of the amount is not read off the whole",
        (in_stripe('intent["amount_received"] if status == "succeeded" else intent["amount"]', 'intent["amount"]'),),
        (ADAPTERS,),
        only="TestStripe",
    ),
    OnSQLite(
        "nothing is rounded",
        (in_amounts("    if rest:\n", "    if False:\n"),),
        (AMOUNTS,),
    ),
    OnSQLite(
        "currencies that are not settled are refused",
        (in_amounts("        if money.currency in self.refused:", "        if False:"),),
        (AMOUNTS,),
        only="Writing",
    ),
    OnSQLite(
        "a true is no amount",
        (in_amounts("type(self.amount) is not int", "not isinstance(self.amount, int)"),),
        (AMOUNTS,),
        only="Money",
    ),
    OnSQLite(
        "where Adyen counts otherwise",
        (in_adyen('{"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2}', "{}"),),
        (AMOUNTS, ADAPTERS),
        only="Writing or pesos",
    ),
    OnSQLite(
        "an answer that is lost is unknown",
        (in_sending("return Unknown(reason=str(exc))", "return Failed(reason=str(exc))"),),
        (ADAPTERS,),
        only="lost or drips",
    ),
    OnSQLite(
        "a timeout is no connection that failed",
        (in_sending("(httpx.TimeoutException, Lost,", "(httpx.TimeoutException, NotSent,"),),
        (SENDING,),
        only="TestTable or TestTime",
    ),
    OnSQLite(
        "without a connection nothing was done",
        (in_sending("(httpx.ConnectError, NotSent,", "(httpx.ConnectError, Lost,"),),
        (ADAPTERS,),
        only="without_a_connection",
    ),
    OnSQLite(
        "the whole call has a deadline",
        (in_sending("thread.join(max(self._limit.left, 0))", "thread.join()"),),
        (SENDING,),
        only="headers_drip",
    ),
    OnSQLite(
        "requests of one call share its deadline",
        (in_sending("_Limit(self.deadline() if deadline is None else deadline)", "_Limit(self.deadline())"),),
        (SENDING,),
        only="share_one_deadline",
    ),
    OnSQLite(
        "what was given up is not sent any more",
        (in_sending("            if self._over:\n", "            if False:\n"),),
        (SENDING,),
        only="name_that_is_not_found",
    ),
    OnSQLite(
        "a transport that tells nothing may have sent it",
        (in_sending("unsent = self._traced and not self._sent", "unsent = not self._sent"),),
        (SENDING,),
        only="tells_of_no_steps",
    ),
    OnSQLite(
        "an answer without end is not read",
        (in_sending("if len(content) > LARGEST:", "if False:"),),
        (SENDING,),
        only="without_end",
    ),
    OnSQLite(
        "a redirect is not followed",
        (in_sending("follow_redirects=False", "follow_redirects=True"),),
        (SENDING,),
        only="redirect",
    ),
    OnSQLite(
        "an answer that cannot be read is unknown",
        (in_sending("(ArithmeticError, AttributeError, LookupError, TypeError, ValueError)", "(ArithmeticError,)"),),
        (ADAPTERS,),
        only="not_the_gateways",
    ),
    OnSQLite(
        "a server error is unknown",
        (in_sending("frozenset({400, 404,", "frozenset({500, 502, 503, 504, 400, 404,"),),
        (SENDING, ADAPTERS),
        only="Statuses or server_error",
    ),
    OnSQLite(
        "a refusal is in the gateway's own words",
        (in_sending(" and isinstance(answer.body, dict)", ""),),
        (SENDING, ADAPTERS),
        only="not_the_gateways",
    ),
    OnSQLite(
        "a conflict is unknown",
        (in_sending("frozenset({400, 404,", "frozenset({409, 400, 404,"),),
        (ADAPTERS,),
        only="conflict",
    ),
    OnSQLite(
        "what was not looked at may be sent again",
        (in_sending("frozenset({401, 403, 429})", "frozenset({429})"),),
        (ADAPTERS,),
        only="may_be_sent_again",
    ),
    OnSQLite(
        "a look-up that is down finds nothing out",
        (
            in_sending(
                '    if not answer.ok:\n        return Unknown(reason=f"looked up: HTTP',
                '    if not answer.ok:\n        return None\n        return Unknown(reason=f"looked up: HTTP',
            ),
        ),
        (ADAPTERS, FAKE),
        only="look_up",
    ),
    OnSQLite(
        "a look-up that is lost finds nothing out",
        (in_sending('return Unknown(reason=f"looked up: {exc}")', "return None"),),
        (ADAPTERS,),
        only="look_up",
    ),
    OnSQLite(
        "an unknown outcome has no place in a journal",
        (
            in_journal(
                "raise OutcomeUnknown(_shown(result), key_forgotten=result.key_forgotten)", "return result.as_json()"
            ),
        ),
        (JOURNAL,),
    ),
    OnSQLite(
        "what did nothing has no place in a journal",
        (in_journal("raise RetryLater(PAUSE)", "return result.as_json()"),),
        (JOURNAL,),
    ),
    OnSQLite(
        "an operation learns how long a key lasts",
        (in_journal("key_ttl=self.key_ttl, timeout", "timeout"),),
        (JOURNAL,),
    ),
    OnSQLite(
        "Stripe gets the key",
        (in_stripe('headers={"Idempotency-Key": key}', "headers={}"),),
        (ADAPTERS,),
        only="TestStripe",
    ),
    OnSQLite(
        "Stripe can find it by the key",
        (
            in_stripe(
                '{**details.pop("metadata", {}), KEY: idempotency_key}\n        data = {**details, "confirm"',
                '{**details.pop("metadata", {})}\n        data = {**details, "confirm"',
            ),
        ),
        (ADAPTERS,),
        only="TestStripe",
    ),
    OnSQLite(
        "what Stripe's search finds is read afresh",
        (
            in_stripe(
                "return found(fetch, lambda fresh: judged(_intent(fresh.body), asked, CHARGE))",
                "return judged(_intent(entry), asked, CHARGE)",
            ),
        ),
        (ADAPTERS,),
        only="TestStripe",
    ),
    OnSQLite(
        "an intent without an error is not declined",
        (in_stripe('if status == "requires_payment_method" and error:', 'if status == "requires_payment_method":'),),
        (ADAPTERS,),
        only="TestStripe",
    ),
    OnSQLite(
        "a key that had another request is unknown",
        (in_stripe('error.get("type") == "idempotency_error" or ', ""),),
        (ADAPTERS,),
        only="TestStripe",
    ),
    OnSQLite(
        "a capture goes by its own key",
        (in_stripe('if intent["metadata"].get(CAPTURE_KEY) != idempotency_key:', "if False:"),),
        (ADAPTERS,),
        only="TestStripe",
    ),
    OnSQLite(
        "a page without the refund is not all of them",
        (in_stripe('if answer.body["has_more"] else None', "if False else None"),),
        (ADAPTERS,),
        only="TestStripe",
    ),
    OnSQLite(
        "Adyen gets the key",
        (in_adyen('headers={"Idempotency-Key": key}', "headers={}"),),
        (ADAPTERS,),
        only="TestAdyen",
    ),
    OnSQLite(
        "one that is in progress at Adyen is unknown",
        (in_adyen("if str(code) == IN_PROGRESS:", "if False:"),),
        (ADAPTERS,),
        only="TestAdyen",
    ),
    OnSQLite(
        "PayPal gets the key",
        (in_paypal('"PayPal-Request-Id": idempotency_key, ', ""),),
        (ADAPTERS,),
        only="TestPayPal",
    ),
    OnSQLite(
        "PayPal's consent is not money",
        (
            in_paypal(
                'Unknown(reference=order_id, reason="no capture in the order")',
                "Approved(reference=order_id, amount=asked.amount, currency=asked.currency)",
            ),
        ),
        (ADAPTERS,),
        only="TestPayPal",
    ),
    OnSQLite(
        "an order that was captured is fetched",
        (in_paypal('if _issue(answer) == "ORDER_ALREADY_CAPTURED":', "if False:"),),
        (ADAPTERS,),
        only="TestPayPal",
    ),
    OnSQLite(
        "Square gets the key",
        (in_square('{"idempotency_key": idempotency_key, "reference_id"', '{"reference_id"'),),
        (ADAPTERS,),
        only="TestSquare",
    ),
    OnSQLite(
        "Square's part of the amount",
        (in_square('payment.get("approved_money") or payment["amount_money"]', 'payment["amount_money"]'),),
        (ADAPTERS,),
        only="TestSquare",
    ),
    OnSQLite(
        "Square's passing error is no decline",
        (in_square('code == "TEMPORARY_ERROR" or ', ""),),
        (ADAPTERS,),
        only="TestSquare",
    ),
    OnSQLite(
        "Square's next page is looked at",
        (in_square("if cursor else None", "if False else None"),),
        (ADAPTERS,),
        only="TestSquare",
    ),
    OnSQLite(
        "Checkout.com gets the key",
        (in_checkout('headers = {"Cko-Idempotency-Key": idempotency_key}', "headers: dict[str, str] = {}"),),
        (ADAPTERS,),
        only="TestCheckout",
    ),
    OnSQLite(
        "Checkout.com's `approved` counts",
        (in_checkout('PAYMENT.get(status) is Approved and payment.get("approved") is not True', "False"),),
        (ADAPTERS,),
        only="TestCheckout",
    ),
    OnSQLite(
        "the example keeps the key",
        (in_example('headers={"Idempotency-Key": key}', 'headers={"Idempotency-Key": "1"}'),),
        (ADAPTERS,),
        only="TestExample",
    ),
    OnSQLite(
        "the fake gateway charges once for a key",
        (edit("gateways/fake/ledger.py", "if known is None or self._expired(known):", "if True:"),),
        (FAKE,),
        only="charged_once",
    ),
    OnSQLite(
        "a late charge keeps to the keys",
        (
            edit(
                "gateways/fake/server.py",
                "            self._do(kind, key, asked, None)\n",
                "            self.gateway.book.make(kind, key, asked)\n",
            ),
        ),
        (FAKE,),
        only="late",
    ),
]
