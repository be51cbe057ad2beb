"""A page with a form, as Django's own tutorials write it."""

from datetime import timedelta

from django import forms
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template import engines
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import FormView

from django_idempotency import idempotent
from tests.bank.models import Payment
from tests.support import points

PAGE = """{% load idempotency %}<form method="post" enctype="multipart/form-data">
{% csrf_token %}{% idempotency_key %}{{ form }}</form>"""


class PaymentForm(forms.Form):
    amount = forms.IntegerField(max_value=100)
    note = forms.CharField(required=False)
    receipt = forms.FileField(required=False)


class Pay(FormView):
    form_class = PaymentForm

    @idempotent
    def post(self, request, *args, **kwargs):
        return super().post(request, *args, **kwargs)

    def form_valid(self, form):
        payment = Payment.objects.create(amount=form.cleaned_data["amount"], nonce="")
        return redirect(f"/payments/{payment.pk}")

    def render_to_response(self, context, **kwargs):
        page = engines["django"].from_string(PAGE)
        return HttpResponse(page.render({"form": context["form"]}, self.request))


def bare(request):
    """Take a payment from whatever is sent, and redirect to it."""
    payment = Payment.objects.create(
        amount=request.POST.get("amount", 0), nonce=request.POST.get("idempotency_key", "")
    )
    return redirect(f"/payments/{payment.pk}")


def at_the_point(request):
    points.reach("view")
    return bare(request)


def ready(request):
    return HttpResponse("ready")


held = csrf_exempt(idempotent(wait=timedelta(seconds=20))(at_the_point))
pay = csrf_exempt(idempotent(bare))
optional = csrf_exempt(idempotent(required=False)(bare))
