from django.http import JsonResponse


def error_response(request, error):
    problem = {"code": error.code, "message": error.detail}
    response = JsonResponse({"errors": [problem]}, status=503 if error.retryable else 422)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    return response
