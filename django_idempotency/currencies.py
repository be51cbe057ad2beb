"""How many decimals each currency has: ISO 4217."""

from __future__ import annotations

from decimal import Context

EXACT = Context(prec=40)
"""For amounts: by a project's own precision they would be rounded, or refused."""

NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
TWO_DECIMALS = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC
    CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES
    KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR
    NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT
    TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"

DECIMALS = {
    code: decimals
    for decimals, codes in {0: NO_DECIMALS, 2: TWO_DECIMALS, 3: THREE_DECIMALS}.items()
    for code in codes.split()
}
"""ISO 4217's exponents, without its units of account, which no card is charged in."""
