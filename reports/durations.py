"""How long something took, for people."""

from __future__ import annotations


def took(seconds: float) -> str:
    """``12.3 ms``, ``1.20 s``, ``2 min 5 s``"""
    if seconds < 0.0001:
        return "<0.1 ms" if seconds else "0 ms"
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
