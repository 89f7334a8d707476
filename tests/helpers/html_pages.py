"""Pages as a browser reads them, and the check that a page needs no other file and runs nothing."""

import html.parser


class Page(html.parser.HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def check_is_self_contained(page: str) -> None:
    """Check that a page has no script, no link to another file, and a policy that forbids both."""
    parsed = Page(page)
    for tag, attributes in parsed.tags:
        assert tag not in {"script", "img", "link", "iframe", "object", "embed", "base", "form", "image", "use"}
        assert not any(name.startswith("on") or name in {"src", "href", "xlink:href", "action"} for name in attributes)
    assert "url(" not in page
    assert "@import" not in page
    policy = next(attributes for tag, attributes in parsed.tags if "http-equiv" in attributes)
    assert policy["content"].startswith("default-src 'none'")
    assert "prefers-color-scheme: dark" in page
