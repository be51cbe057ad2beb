import pytest
def test_trace(shop, key):
    o = shop.order(key)
    a = shop.ask(o)
    print(a.status_code, a.text, a.headers.get("X-Test-Trace"))
    print(shop.live.log()[-3000:])
    shop.settle(o)
