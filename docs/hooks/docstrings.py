"""How our docstrings become Markdown, for Griffe: sections it knows by another name, and links."""

import re

import griffe

import pyg_kgtransfer as kgt

_PLACES = {name: f"{getattr(kgt, name).__module__}.{getattr(kgt, name).__name__}"
           for name in kgt.__all__}  # fmt: skip


class Docstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Give the object's docstring sections and links that Griffe understands."""
        if obj.docstring is not None and not obj.is_alias:
            obj.docstring.value = as_markdown(obj.docstring.value, obj.path)


def as_markdown(text: str, path: str = "") -> str:
    r"""A docstring with ``Examples:`` for ``Example:``, a bold ``Source:``, links to public names.

    Args:
        text: The docstring.
        path: Of the object that it describes, which gets no link to itself.

    Example:
        >>> print(as_markdown("Its ``Split``.\n\nSource: Bordes et al. 2013."))
        Its [`Split`][pyg_kgtransfer.graph.splits.Split].
        <BLANKLINE>
        **Source:** Bordes et al. 2013.
    """
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    text = re.sub(r"^Source: ", "**Source:** ", text, flags=re.MULTILINE)
    text = re.sub(r"^([^>\n]*)<(?=\w)", r"\1&lt;", text, flags=re.MULTILINE)  # <h, r, t> is no HTML
    text = text.replace("[*", r"[\*")
    return re.sub(r"``(\w+)``", lambda found: _link(found[1], path), text)


def _link(name: str, path: str) -> str:
    place = _PLACES.get(name)
    return f"`{name}`" if place is None or place == path else f"[`{name}`][{place}]"
