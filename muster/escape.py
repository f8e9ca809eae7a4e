"""Text from elsewhere, made safe for a terminal."""

from __future__ import annotations


def escaped(text: str, keep: str = "") -> str:
    r"""The text with what a terminal would obey written out: ESC becomes `\x1b`, a right-to-left override `\u202e`.

    Names, messages and labels come from kubeconfigs and servers of other people. `keep` are characters that pass.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )
