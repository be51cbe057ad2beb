"""The adapters, against answers as the gateways document them."""

from pathlib import Path

from django_idempotency.gateways.adyen import Adyen
from django_idempotency.gateways.checkout import Checkout
from django_idempotency.gateways.example import ExampleGateway
from django_idempotency.gateways.paypal import PayPal
from django_idempotency.gateways.square import Square
from django_idempotency.gateways.stripe import Stripe
from django_idempotency.testing.gateways import FindContract, GatewayContract

FIXTURES = Path(__file__).parent / "fixtures"


class TestStripe(FindContract):
    cases = FIXTURES / "stripe"
    status, amount, currency = "/status", "/amount_received", "/currency"

    def gateway(self, url, client):
        return Stripe(api_key="sk_test", base_url=url, timeout=0.5, client=client)


class TestAdyen(GatewayContract):
    cases = FIXTURES / "adyen"
    status, amount, currency = "/resultCode", "/amount/value", "/amount/currency"

    def gateway(self, url, client):
        return Adyen(api_key="key", merchant_account="Shop", base_url=f"{url}/v72", timeout=0.5, client=client)


class TestPayPal(FindContract):
    cases = FIXTURES / "paypal"
    capture = "/purchase_units/0/payments/captures/0"
    status, amount, currency = f"{capture}/status", f"{capture}/amount/value", f"{capture}/amount/currency_code"

    def gateway(self, url, client):
        return PayPal(client_id="client", client_secret="secret", base_url=url, timeout=0.5, client=client)


class TestSquare(FindContract):
    cases = FIXTURES / "square"
    status, amount, currency = (
        "/payment/status",
        "/payment/approved_money/amount",
        "/payment/approved_money/currency",
    )

    def gateway(self, url, client):
        return Square(access_token="token", base_url=url, timeout=0.5, client=client)


class TestCheckout(FindContract):
    cases = FIXTURES / "checkout"
    status, amount, currency = "/status", "/amount", "/currency"

    def gateway(self, url, client):
        return Checkout(secret_key="sk_test", base_url=url, timeout=0.5, client=client)


class TestExample(FindContract):
    cases = FIXTURES / "example"
    status, amount, currency = "/status", "/amount", "/currency"

    def gateway(self, url, client):
        return ExampleGateway(url, timeout=0.5, client=client)
