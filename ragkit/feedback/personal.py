"""Personal data and secrets taken out of texts that leave the machine, each replaced by ``<WHAT>``.

Notes on machine learning are full of long numbers, so a number alone is taken for personal only
where its form or checksum says so: ISO/IEC 7812 (Luhn) for cards, GB 11643 for Chinese identity
numbers, the numbering plan for phones, or a word in front of it (QQ, passport). Names and addresses of people
are not recognised, nor accounts that nothing names.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from typing import Final

_WIDE: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
"""Full-width signs, one to one, so that places stay the same."""
_RUN_TOGETHER: Final = 12
"""Characters in front of a number in which a word may say what it is."""

_START: Final = r"(?<![0-9A-Za-z_.\-])"
_END: Final = r"(?![0-9A-Za-z_]|[.\-][0-9])"

_EMAIL: Final = re.compile(
    r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9._%+\-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}"
    r"(?![A-Za-z0-9])"
)
_URL_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/@:<>]{1,256}:[^\s/@<>]{1,256}(?=@)")
_URL_SECRET: Final = re.compile(
    r"(?<=[?&])((?:api[_-]?key|key|token|access[_-]?token|secret|password|passwd|pwd|sig|signature)=)[^&\s#<>\"')\]]{6,}",
    re.IGNORECASE,
)
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)
_KEY: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_\-]{16,256}"  # OpenAI, DeepSeek, Anthropic
    r"|gh[pousr]_[A-Za-z0-9]{30,256}|github_pat_[A-Za-z0-9_]{30,256}|glpat-[A-Za-z0-9_\-]{18,64}"
    r"|hf_[A-Za-z0-9]{30,64}|AKIA[A-Z0-9]{16}|AIza[A-Za-z0-9_\-]{35}|xox[abprs]-[A-Za-z0-9\-]{10,256}"
    r"|LTAI[A-Za-z0-9]{12,24}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,256}"
    r"|eyJ[A-Za-z0-9_\-]{8,2048}\.[A-Za-z0-9_\-]{8,4096}\.[A-Za-z0-9_\-]{8,1024}"  # JSON web token
    r")(?![A-Za-z0-9])"
)
_ASSIGNED: Final = re.compile(
    r"((?:api[_\- ]?key|secret(?:[_\- ]?key)?|access[_\- ]?token|auth[_\- ]?token|password|passwd|密码|口令|密钥)"
    r"[\"']?\s{0,3}(?:[:=]|是|is(?=\s))\s{0,3}[\"']?)([A-Za-z0-9+/_\-!@#$%^&*]{8,256})",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"(?<![A-Za-z])((?:Bearer|Basic)\s{1,3})([A-Za-z0-9._~+/\-]{12,4096}={0,2})", re.IGNORECASE)
_ID: Final = re.compile(_START + r"[1-9][0-9]{16}[0-9Xx]" + _END)
_CARD: Final = re.compile(
    _START
    + r"(?:[0-9]{15,19}|[0-9]{4}([ \-])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{1,3})?|[0-9]{4}([ \-])[0-9]{6}\2[0-9]{5})"
    + _END
)
_MOBILE: Final = re.compile(
    r"(?<![0-9A-Za-z_.\-+])((?:\+|00)?86[ \-]?)?1[3-9][0-9](?:[0-9]{8}|([ \-])[0-9]{4}\2[0-9]{4})" + _END
)
_LANDLINE: Final = re.compile(
    r"(?<![0-9A-Za-z_.\-+])(?:\(0[1-9][0-9]{1,2}\) ?|0[1-9][0-9]{1,2}-)[2-9][0-9]{6,7}" + _END
)
_ABROAD: Final = re.compile(r"(?<![0-9A-Za-z_.)\]^])\+[1-9][0-9]{0,2}(?:[ \-]?\(?[0-9]{1,4}\)?){2,5}" + _END)
_US: Final = re.compile(r"(?<![0-9A-Za-z_.])\([2-9][0-9]{2}\) ?[2-9][0-9]{2}-[0-9]{4}" + _END)
_NAMED_PHONE: Final = re.compile(
    r"((?<![A-Za-z])(?:tel|telephone|phone|mobile|fax|whatsapp)(?![A-Za-z])|电话|手机|座机|传真)"
    r"((?:\s?(?:number|no\.?|号码|号))?\s?(?:is|是|为)?\s?[:.]?\s?)(\+?[0-9(][0-9() \-.]{5,18}[0-9])" + _END,
    re.IGNORECASE,
)
_NAMED_ACCOUNT: Final = re.compile(
    r"((?<![A-Za-z])(?:QQ|WeChat|passport|ID card)(?![A-Za-z])|微信|护照|身份证|驾驶证)"
    r"(\s?(?:number|no\.?|id|号码|号)?\s?(?:is\s|是|为)?\s?:?\s?)([A-Za-z0-9_\-]{5,24})(?![A-Za-z0-9_])",
    re.IGNORECASE,
)
_IPV4: Final = re.compile(r"(?<![0-9A-Za-z_.\-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z_]|\.[0-9])")
_IPV6: Final = re.compile(r"(?<![0-9A-Za-z_:.\]\[])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z_:.])")
_SAYS_ADDRESS: Final = re.compile(r"(?:\bip\b|地址|host|server|服务器|://|ssh|ping|@)[^0-9]{0,6}$", re.IGNORECASE)
_SAYS_VERSION: Final = re.compile(r"(?:version|版本|ver\.?|==|>=|<=|~=|release)\s?$", re.IGNORECASE)
_CARD_PREFIX: Final = re.compile(r"4|5[1-5]|3[47]|35|6[0-9]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720")
"""First digits of Visa, Mastercard, American Express, JCB, UnionPay and Maestro (ISO/IEC 7812)."""
_ID_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECK: Final = "10X98765432"

Span = tuple[int, int, str]
"""Start, end and what stands there."""
_Rule = Callable[[str], Iterator[Span]]


def mask(text: str, counts: Counter[str] | None = None) -> str:
    """`text` with personal data and secrets replaced by ``<EMAIL>``, ``<PHONE>`` and the like.

    Args:
        text: Any text; full-width digits and signs count as their narrow ones.
        counts: What was found is added here, by kind.
    """
    plain = text.translate(_WIDE)
    taken: list[Span] = []
    for rule in _RULES:
        for start, end, kind in rule(plain):
            if all(end <= first or start >= last for first, last, _ in taken):
                taken.append((start, end, kind))
    out, at = [], 0
    for start, end, kind in sorted(taken):
        out += [text[at:start], f"<{kind}>"]
        at = end
        if counts is not None:
            counts[kind] += 1
    return "".join([*out, text[at:]])


def _whole(pattern: re.Pattern[str], kind: str, check: Callable[[re.Match[str]], bool] = lambda match: True) -> _Rule:
    def rule(text: str) -> Iterator[Span]:
        return ((m.start(), m.end(), kind) for m in pattern.finditer(text) if check(m))

    return rule


def _behind(
    pattern: re.Pattern[str], group: int, kind: str, check: Callable[[re.Match[str]], bool] = lambda match: True
) -> _Rule:
    """What stands from group `group` on."""

    def rule(text: str) -> Iterator[Span]:
        return ((m.start(group), m.end(), kind) for m in pattern.finditer(text) if check(m))

    return rule


def _has_digit(match: re.Match[str]) -> bool:
    # A word in kebab case has the form of a key; random characters contain digits.
    return any(char.isdigit() for char in match.group(0))


def _secret_value(match: re.Match[str]) -> bool:
    value = match.group(2)
    return any(char.isdigit() for char in value) and any(char.isalpha() for char in value)


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit())


def luhn(digits: str) -> bool:
    """Whether a number of digits has the right last one (ISO/IEC 7812-1)."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _is_card(match: re.Match[str]) -> bool:
    digits = _digits(match.group(0))
    # Runs of zeros are round numbers, the same group over and over is a table.
    round_number = digits.endswith("00000000") or len({digits[i : i + 4] for i in range(0, len(digits), 4)}) == 1
    return bool(_CARD_PREFIX.match(digits)) and not round_number and luhn(digits)


def is_chinese_id(number: str) -> bool:
    """Whether 18 characters are an identity number of GB 11643: a date of birth and the right check sign."""
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(weight * int(char) for weight, char in zip(_ID_WEIGHTS, number[:17], strict=True))
    return 1880 <= born.year <= 2100 and _ID_CHECK[total % 11] == number[17].upper()


def _is_mobile(match: re.Match[str]) -> bool:
    # 13000000000 is how notes write 13 billion.
    return not _digits(match.group(0)).endswith("00000")


def _is_phone_length(match: re.Match[str]) -> bool:
    digits = _digits(match.group(0))
    separated = re.search(r"[ \-()]", match.group(0)) is not None
    return (8 if separated else 10) <= len(digits) <= 15 and not digits.endswith("00000")


def _is_named_phone(match: re.Match[str]) -> bool:
    return 7 <= len(_digits(match.group(3))) <= 15


def _is_account(match: re.Match[str]) -> bool:
    # Without a sign between them the next word may be anything; a name of letters alone is never taken.
    digits = len(_digits(match.group(3)))
    return digits >= 5 or (digits > 0 and bool(match.group(2).strip()))


def _is_ipv4(match: re.Match[str]) -> bool:
    octets = [int(part) for part in match.group(0).split(".")]
    before = match.string[max(0, match.start() - _RUN_TOGETHER) : match.start()]
    if max(octets) > 255 or octets[0] in {0, 127, 255} or _SAYS_VERSION.search(before):
        return False
    # Small numbers are the number of a section or a version unless something says otherwise.
    return max(octets) >= 20 or _SAYS_ADDRESS.search(before) is not None


def _is_ipv6(match: re.Match[str]) -> bool:
    written = match.group(0)
    groups = [group for group in written.split(":") if group]
    try:
        address = ipaddress.IPv6Address(written)
    except ValueError:
        return False
    # Slices and scopes of programs (a::b, ::2) are addresses by form.
    likely = len(groups) >= 2 and len(groups[0]) >= 3 and any(char.isdigit() for char in written)
    return likely and not address.is_loopback


_RULES: Final[tuple[_Rule, ...]] = (
    _whole(_PRIVATE_KEY, "KEY"),
    _whole(_URL_CREDENTIALS, "CREDENTIALS"),
    lambda text: ((m.end(1), m.end(), "KEY") for m in _URL_SECRET.finditer(text)),
    _whole(_KEY, "KEY", _has_digit),
    _behind(_BEARER, 2, "TOKEN", _secret_value),
    _behind(_ASSIGNED, 2, "KEY", _secret_value),
    _whole(_EMAIL, "EMAIL"),
    _whole(_ID, "ID", lambda match: is_chinese_id(match.group(0))),
    _whole(_CARD, "CARD", _is_card),
    _whole(_MOBILE, "PHONE", _is_mobile),
    _whole(_LANDLINE, "PHONE"),
    _whole(_ABROAD, "PHONE", _is_phone_length),
    _whole(_US, "PHONE"),
    _behind(_NAMED_PHONE, 3, "PHONE", _is_named_phone),
    _behind(_NAMED_ACCOUNT, 3, "ACCOUNT", _is_account),
    _whole(_IPV4, "IP", _is_ipv4),
    _whole(_IPV6, "IP", _is_ipv6),
)
