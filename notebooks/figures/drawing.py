"""What the course's drawings share: the frame of an SVG document with title, description and arrow tip, and
lines of text.
"""

import html

TIP = (
    '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="12" markerHeight="12" '
    'markerUnits="userSpaceOnUse" orient="auto">'
    '<path d="M0,0 L10,5 L0,10 z" fill="#333"/></marker></defs>'
)


def document(width: int, height: int, parts: list[str], *, name: str, title: str, text: str) -> str:
    """An SVG document on white that scales down with the page, with a title and a description for screen
    readers.

    Args:
        width, height: of the drawing, in pixels.
        parts: SVG elements, drawn in this order.
        name: begins the ids of title and description, so that two drawings can stand on one page.
        title, text: plain text.
    """
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'style="width:100%;max-width:{width}px;height:auto" role="img" '
        f'aria-labelledby="{name}-title {name}-text" font-family="Helvetica, Arial, sans-serif">',
        f'<title id="{name}-title">{html.escape(title)}</title>',
        f'<desc id="{name}-text">{html.escape(text)}</desc>',
        TIP,
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def lines(texts: list[str], x: float, y: float, *, gap: int = 20) -> str:
    """`tspan` elements below each other, centred on height `y`."""
    first = y + 5 - gap / 2 * (len(texts) - 1)
    return "".join(
        f'<tspan x="{x:g}" y="{first + gap * number:g}">{html.escape(text)}</tspan>'
        for number, text in enumerate(texts)
    )
