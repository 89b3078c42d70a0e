"""Texts that would steer a terminal or hide from its reader, one of each class."""

from __future__ import annotations

HAZARDS = {
    "clear screen": "\x1b[2J",
    "colour": "\x1b[31m",
    "clipboard (OSC 52)": "\x1b]52;c;ZXZpbA==\x07",
    "link (OSC 8)": "\x1b]8;;http://x\x1b\\",
    "title, unterminated": "\x1b]0;owned",
    "device control": "\x1bPq\x1b\\",
    "C1 control sequence": "\x9b2J",
    "backspace overwrite": "safe\b\b\b\bevil",
    "NUL": "a\0b",
    "bell": "\x07",
    "delete": "\x7f",
    "right-to-left override": "\u202egnp.exe",
    "isolate": "\u2066x\u2069",
    "zero width space": "pass\u200bword",
    "byte order mark": "\ufeffx",
    "tag characters": "\U000e0041\U000e0042",
    "half a surrogate pair": "\ud83d",
    "line separator": "a\u2028b",
    "variation selectors that hide bytes": "a\U000e0101\U000e0102",
    "annotation": "a\ufff9b\ufffb",
    "variation selectors in a row": "a\ufe00\ufe01\ufe0f",
    "fillers": "a\u3164\u115f\uffa0\u034fb",
    "sixel and application commands": "\x1b_Gx\x1b\\ \x1bX\x1b\\ \x90q\x9c",
    "scroll region and alternate screen": "\x1b[1;5r\x1b[?1049h\x1bc",
    "carriage return": "100%\rsafe",
}
