from django.http import JsonResponse

from django_idempotency.exceptions import KeyMissing


def error_response(request, error):
    status = 400 if isinstance(error, KeyMissing) else 409
    return JsonResponse({"errors": [{"code": error.code, "message": error.detail}]}, status=status)
