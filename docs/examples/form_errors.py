from django.shortcuts import render

STATUSES = {"key-missing": 400, "key-invalid": 400, "in-flight": 409, "key-expired": 412, "key-reused": 422}


def error_page(request, error):
    return render(request, "shop/not_sent.html", {"error": error}, status=STATUSES.get(error.code, 503))
