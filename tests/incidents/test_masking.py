"""What is masked and what is dropped, by name, by number, and by pointer."""

import json
import time

import pytest

from django_idempotency.card_numbers import card_numbers_masked, is_card_number
from django_idempotency.masking import DROPPED, MASKED, Masking, dumped, verdict

CARDS = ["4111111111111111", "5500 0000 0000 0004", "3782-822463-10005", "6011000990139424", "4222222222222"]


def masked(data, *pointers, encrypted=False):
    """Return JSON as it would be stored, and whether it is still whole."""
    text = data if isinstance(data, str) else json.dumps(data)
    masking = Masking(pointers, encrypted=encrypted)
    clean = masking.data(masking.json(text))
    return json.loads(dumped(clean)), not masking.changed


DROPPED_NAMES = [
    *("cvv", "CVV", "cvv2", "CVC2", "cvc", "card_cvv", "cardCvc", "CVC-Code", "cid", "CID", "csc", "card_cid"),
    *("security_code", "securityCode", "card-security-code", "card_verification_value", "cardVerificationNumber"),
    *("pin", "PIN", "pin_block", "pinBlock", "PIN-Block", "card_pin", "newPin", "pin_code", "pinCode", "upiPin"),
    *("track1", "Track2", "track_1", "track-2", "track_data", "trackData", "track2Data", "magstripe", "mag_stripe"),
    *("card[cvv]", "card.cvc", "payment[card][pin]"),
]
MASKED_NAMES = [
    *("password", "Password", "new_password", "secret", "client_secret", "access_token", "refreshToken", "api_key"),
    *("apiKey", "X-API-Key", "authorization", "card_number", "cardNumber", "pan", "iban", "ssn", "otp", "cookie"),
    "user[password]",
]
PLAIN_NAMES = [
    *("shipping", "spin", "pinned", "incident", "client_id", "description", "number", "tracking_number", "track"),
    *("company", "expand", "name", "code", "placid", "opinion", "amount"),
]


class TestNames:
    @pytest.mark.parametrize("name", DROPPED_NAMES)
    def test_codes_pins_and_tracks_are_dropped_under_their_usual_names(self, name):
        assert verdict(name) == DROPPED

    @pytest.mark.parametrize("name", MASKED_NAMES)
    def test_secrets_are_masked_under_their_usual_names(self, name):
        assert verdict(name) == MASKED

    @pytest.mark.parametrize("name", PLAIN_NAMES)
    def test_names_that_only_look_like_it_are_left_alone(self, name):
        assert verdict(name) == ""

    def test_long_names_are_told_and_not_remembered(self):
        verdict.cache_clear()
        name = "x" * 1000 + "_cvv"
        assert masked({name: "987", "short": 1}) == ({name: DROPPED, "short": 1}, False)
        assert verdict.cache_info().currsize == 1


class TestCardNumbers:
    @pytest.mark.parametrize("number", CARDS)
    def test_a_card_number_is_masked_but_for_its_last_four_digits(self, number):
        last = number.replace(" ", "").replace("-", "")[-4:]
        assert card_numbers_masked(f"paid with {number}, thanks") == f"paid with ****{last}, thanks"

    def test_it_is_found_beside_other_numbers(self):
        assert card_numbers_masked("12 4111 1111 1111 1111") == "12 ****1111"
        assert card_numbers_masked("4111 1111 1111 1111 5500000000000004") == "****1111 ****0004"
        assert card_numbers_masked("4111111111111111 12") == "****1111 12"

    def test_digits_of_any_script_are_digits(self):
        arabic = str.maketrans("0123456789", "".join(chr(0x660 + digit) for digit in range(10)))
        assert card_numbers_masked("4111111111111111".translate(arabic)) == "****1111".translate(arabic)

    @pytest.mark.parametrize(
        "number", ["4111111111111112", "1763686229123", "411111111111", "4" * 25, "0000000000000000"]
    )
    def test_what_is_no_card_number_stays(self, number):
        assert card_numbers_masked(number) == number

    def test_the_check_digit_decides(self):
        body = "411111111111111"
        assert [is_card_number(f"{body}{digit}") for digit in range(10)] == [digit == 1 for digit in range(10)]


class TestJSON:
    def test_what_holds_no_secret_is_whole(self):
        data = {"amount": 5, "to": ["a", {"b": None}], "note": "at 10:00, for 5 = five"}
        assert masked(data) == (data, True)

    def test_names_and_numbers_are_found_at_any_depth(self):
        data = {"a": [{"card": {"number": "4111 1111 1111 1111", "cvv": 123, "exp": "12/30"}}], "password": "p"}
        hidden = {"a": [{"card": {"number": "****1111", "cvv": DROPPED, "exp": "12/30"}}], "password": MASKED}
        assert masked(data) == (hidden, False)

    def test_a_card_number_may_be_a_number_a_name_or_escaped(self):
        assert masked({"n": 4111111111111111}) == ({"n": "****1111"}, False)
        assert masked({"4111111111111111": 1}) == ({"****1111": 1}, False)
        assert masked('{"n": "\\u0034111111111111111"}') == ({"n": "****1111"}, False)

    def test_an_escaped_name_is_the_name(self):
        assert masked('{"c\\u0076v": "123"}') == ({"cvv": DROPPED}, False)

    def test_a_whole_subtree_goes_under_a_name(self):
        assert masked({"pin": {"value": [1, 2]}, "secrets": [{"x": "y"}]}) == (
            {"pin": DROPPED, "secrets": MASKED},
            False,
        )

    def test_nothing_is_no_secret(self):
        assert masked({"password": None, "cvv": ""}) == ({"password": None, "cvv": ""}, True)

    def test_the_first_of_two_members_with_one_name_is_not_shown(self):
        assert masked('{"a": "4111111111111111", "a": 1}') == ({"a": 1}, False)

    def test_encryption_keeps_what_is_masked_and_drops_what_is_dropped(self):
        data = {"password": "p", "number": "4111111111111111"}
        assert masked(data, "/password", encrypted=True) == (data, True)
        assert masked({**data, "cvv": "1"}, encrypted=True) == ({**data, "cvv": DROPPED}, False)
        track = "%B4111111111111111^DOE/JANE^25121010000000?"
        assert masked({"swipe": track}, encrypted=True) == ({"swipe": DROPPED}, False)

    def test_secrets_inside_of_texts_are_found(self):
        inner = json.dumps({"cvv": "123", "password": "a b", "n": 1})
        (found, whole) = masked({"event": inner, "url": "https://x/?token=abc&n=1", "xml": "<Pin>1234</Pin>"})
        assert "123" not in found["event"]
        assert "a b" not in found["event"]
        assert (found["url"], found["xml"]) == (f"https://x/?token={MASKED}&n=1", f"<Pin>{DROPPED}</Pin>")
        assert not whole

    @pytest.mark.parametrize(
        "text", ["my cvv: 987", "cvv=987", '{"cvv": "987"}', '{"cvv" : 987}', "<cvv>987</cvv>", "987\t"]
    )
    def test_each_kind_of_text_is_looked_into(self, text):
        found, whole = masked({"note": text})
        assert ("987" in found["note"]) == whole == (text == "987\t")

    def test_numbers_keep_all_their_digits(self):
        masking = Masking()
        clean = masking.data(masking.json('{"a": 100.10, "b": 1e400, "c": 12345678901234567890, "cvv": 1}'))
        assert dumped(clean) == f'{{"a":100.10,"b":1e400,"c":12345678901234567890,"cvv":"{DROPPED}"}}'


class TestPointers:
    DATA = {"customer": {"name": "Jane"}, "items": [{"note": "x", "n": 1}, {"note": "y"}], "a/b": 1}

    @pytest.mark.parametrize(
        ("pointer", "hidden"),
        [
            ("/customer/name", {**DATA, "customer": {"name": MASKED}}),
            ("/items/*/note", {**DATA, "items": [{"note": MASKED, "n": 1}, {"note": MASKED}]}),
            ("/items/1", {**DATA, "items": [{"note": "x", "n": 1}, MASKED]}),
            ("/*/name", {**DATA, "customer": {"name": MASKED}}),
            ("/a~1b", {**DATA, "a/b": MASKED}),
        ],
    )
    def test_a_pointer_masks_what_it_points_at(self, pointer, hidden):
        assert masked(self.DATA, pointer) == (hidden, False)

    @pytest.mark.parametrize("pointer", ["/nothing", "/customer/name/deeper", "/items/9", "/items/x"])
    def test_a_pointer_to_nothing_masks_nothing(self, pointer):
        assert masked(self.DATA, pointer) == (self.DATA, True)


class TestFormsAndTexts:
    def test_a_form_is_masked_by_name_and_number(self):
        masking = Masking(["/note"])
        clean = masking.query("amount=5&card%5Bcvv%5D=123&n=4111+1111+1111+1111&note=hi&password=p")
        assert "123" not in clean
        assert "amount=5" in clean
        assert [value in clean for value in ("1111+1111", "note=hi", "=p")] == [False] * 3
        assert masking.changed

    def test_a_form_without_secrets_stays_byte_for_byte(self):
        masking = Masking()
        assert masking.query("b=%41&a=1&empty=") == "b=%41&a=1&empty="
        assert not masking.changed

    @pytest.mark.parametrize(
        "text",
        [
            "cvv=123 rest",
            "CVV: 123",
            '"cvv": "123"',
            "'pin':'123'",
            "<ns:cvv a='b'>123</ns:cvv>",
            "<card_verification><v>123</v></card_verification>",
            "<cvv><![CDATA[123]]></cvv>",
            '<card cvv="123"/>',
            "password=123",
            ";4111111111111111=25121010000000000123?",
        ],
    )
    def test_any_other_text_is_masked_as_far_as_it_can_be_told(self, text):
        assert "123" not in Masking().text(text)

    @pytest.mark.parametrize(
        "text",
        [
            "4 " * 250_000,
            "<pin>" * 50_000,
            'a="' * 100_000,
            "pin='" * 100_000,
            "pin=\\" * 100_000,
            "a-" * 250_000 + "=",
        ],
        ids=lambda text: text[:6],
    )
    def test_no_text_takes_long(self, text):
        begun = time.process_time()
        assert Masking().text(text) != ""
        assert time.process_time() - begun < 1.5
