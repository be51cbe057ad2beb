from datetime import timedelta

from django import forms
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from shop.models import Payment

from django_idempotency import idempotent


class DonationForm(forms.Form):
    amount = forms.IntegerField(min_value=1, max_value=10_000)


@never_cache
@idempotent("forms", wait=timedelta(seconds=20))
def donate(request):
    form = DonationForm(request.POST or None)
    if form.is_valid():
        payment = Payment.objects.create(amount=form.cleaned_data["amount"])
        return redirect("thanks", payment.pk)
    return render(request, "shop/donate.html", {"form": form})


def thanks(request, pk):
    return render(request, "shop/thanks.html", {"payment": Payment.objects.get(pk=pk)})


urlpatterns = [
    path("donate", donate, name="donate"),
    path("thanks/<int:pk>", thanks, name="thanks"),
]
