"""A page where anybody can pay into an account."""

from datetime import timedelta

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache

from django_idempotency import idempotent

from . import services
from .models import Account, Payment


class PaymentForm(forms.Form):
    amount = forms.IntegerField(min_value=1, max_value=10**6, help_text="In minor units.")
    card = forms.RegexField(r"\A[0-9]{12,19}\Z")


# The key is a hidden field of the form. A second click waits for the first one's answer.
@never_cache
@idempotent(wait=timedelta(seconds=20))
def pay(request: HttpRequest, account: int) -> HttpResponse:
    payee = get_object_or_404(Account, pk=account)
    form = PaymentForm(request.POST or None)
    if form.is_valid():
        charge_key = request.idempotency.derive("charge")  # type: ignore[attr-defined]
        payment = services.take_payment(account=payee, charge_key=charge_key, **form.cleaned_data)
        return redirect("receipt", payment.pk)
    return render(request, "payments/pay.html", {"account": payee, "form": form})


def receipt(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "payments/receipt.html", {"payment": get_object_or_404(Payment, pk=pk)})
