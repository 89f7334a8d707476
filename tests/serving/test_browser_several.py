"""Several texts in Chromium: lines and files, the table, its order and its download."""

import codecs
import csv
import io
import re

import pytest
from browser import check_accessible, new_page, running_browser, serving
from playwright.sync_api import expect
from serving_models import inference, settings

from serving.app import create_app

FILE = 'id,review,label\r\n7,"good, and ""good"" film",=x\r\n8,bad,\r\n9,=bad bad,-1\r\n'


@pytest.fixture(scope="module")
def browser():
    with running_browser() as browser:
        yield browser


@pytest.fixture
def url(tmp_path):
    with serving(create_app(settings(tmp_path, max_text_chars=1000), inference())) as url:
        yield url


def rows(page):
    return [row.split("\t")[:4] for row in page.locator("#table tbody tr").all_inner_texts()]


def open_several(page, url):
    page.goto(url)
    expect(page.locator("#labels button")).to_have_count(3)
    page.keyboard.press("m")
    expect(page.locator("#several")).to_be_visible()


@pytest.mark.parametrize("is_narrow", [False, True], ids=["wide", "narrow and dark"])
def test_a_file_is_classified_sorted_and_saved(browser, url, is_narrow):
    with new_page(browser, is_narrow=is_narrow) as page:
        open_several(page, url)
        page.set_input_files("#file", {"name": "a.csv", "mimeType": "text/csv", "buffer": FILE.encode()})
        expect(page.locator("#several-status")).to_have_text("3 texts in a.csv.")
        assert page.locator("#column option:checked").inner_text() == "2: review"
        page.click("#score")
        expect(page.locator("#several-status")).to_have_text("3 of 3 texts classified: neg 2, pos 1.")
        assert [row[:3] for row in rows(page)] == [
            ["1", 'good, and "good" film', "pos"], ["2", "bad", "neg"], ["3", "=bad bad", "neg"]
        ]  # fmt: skip
        check_accessible(page)
        page.click("#sort-probability")
        assert [row[0] for row in rows(page)] == ["2", "1", "3"]
        page.keyboard.press("Enter")
        assert [row[0] for row in rows(page)] == ["1", "3", "2"]
        expect(page.locator("th:has(#sort-probability)")).to_have_attribute("aria-sort", "descending")
        with page.expect_download() as saved:
            page.click("#download")
        content = saved.value.path().read_bytes()
        assert content.startswith(codecs.BOM_UTF8)
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
        assert lines[0][:6] == ["row", "text", "label", "probability", "P(neg)", "P(pos)"]
        assert lines[0][8:] == ["remarks", "id", "label (file)"]
        assert [line[9:] for line in lines[1:]] == [["7", "'=x"], ["9", "-1"], ["8", ""]]
        assert [line[0] for line in lines[1:]] == ["1", "3", "2"]
        assert lines[2][1] == "'=bad bad"
        assert float(lines[1][4]) + float(lines[1][5]) == pytest.approx(1)
        page.get_by_role("button", name="bad", exact=True).click()
        assert page.locator("#text").input_value() == "bad"
        expect(page.locator("#label")).to_contain_text("neg")


def test_lines_and_a_text_that_the_server_refuses(browser, url):
    with new_page(browser, accepts="422") as page:
        open_several(page, url)
        page.fill("#lines", f"good\n\n{'bad ' * 300}\nbad\n")
        page.click("#score")
        expect(page.locator("#several-status")).to_contain_text("2 of 3 texts classified")
        expect(page.locator("#table tbody tr").nth(1)).to_contain_text("not classified: expected at most")
        assert [row[2] for row in rows(page)] == ["pos", "–", "neg"]


def test_a_dropped_file_and_files_that_cannot_be_read(browser, url):
    drop = """([name, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name));
        document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
    }"""
    with new_page(browser) as page:
        open_several(page, url)
        page.evaluate(drop, ["a.tsv", list(b"x\tgood film\ny\tbad film\n")])
        expect(page.locator("#several-status")).to_have_text("2 texts in a.tsv.")
        page.click("#score")
        expect(page.locator("#several-status")).to_contain_text("2 of 2")
        assert [row[1] for row in rows(page)] == ["good film", "bad film"]
        page.evaluate(drop, ["a.csv", [0xFF, 0xFE, 0x41]])
        expect(page.locator("#several-status")).to_contain_text("not UTF-8")
        # The table of the earlier file must not pass for that of this one.
        for name in ("table", "download", "more"):
            expect(page.locator(f"#{name}")).to_be_hidden()
        page.evaluate(drop, ["b.csv", list(b'a,"b')])
        expect(page.locator("#several-status")).to_contain_text("b.csv, line 1: a quote opens here")
        page.click("#score")
        expect(page.locator("#several-status")).to_contain_text("no texts yet")


def test_many_texts_are_sent_in_batches_and_shown_in_parts(browser, url):
    with new_page(browser) as page:
        sent = []
        page.on("request", lambda request: sent.append(request) if "/predict" in request.url else None)
        open_several(page, url)
        page.fill("#lines", "\n".join(f"good film {i}" for i in range(230)))
        page.click("#score")
        expect(page.locator("#several-status")).to_contain_text("230 of 230")
        assert len(sent) == 5
        assert len(rows(page)) == 200
        page.click("#more")
        assert len(rows(page)) == 230
        assert re.match("good film 229", rows(page)[-1][1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('id,text\n1,"a\nb"\n2,"open\nc\n', "f.csv, line 4: a quote opens here and never closes"),
        ('text,label\r\n"a\r\nb",pos\r\n"x"y,pos\r\n', "f.csv, line 4: expected a separator after a closing quote"),
        ("text\tlabel\rgood\tpos\rbad\r", "f.csv, line 3: expected 2 fields, as in line 1, found 1"),
        ('\ntext,label\n"a\nb",pos\nbad,neg,more\n', "f.csv, line 5: expected 2 fields, as in line 2, found 3"),
    ],
)
def test_a_damaged_csv_is_refused_with_its_line(browser, url, content, message):
    with new_page(browser) as page:
        open_several(page, url)
        page.set_input_files("#file", {"name": "f.csv", "mimeType": "text/csv", "buffer": content.encode()})
        expect(page.locator("#several-status")).to_contain_text(message)
        expect(page.locator("#columns")).to_be_hidden()


def test_rows_of_a_csv(browser, url):
    code = "async ([text, separator]) => (await import('/page/csv.js')).parseCsv(text, separator)"
    with new_page(browser) as page:
        page.goto(url)
        assert page.evaluate(code, ['a,b\r\n"x, ""y""\r\nz",\r\n\r\n"",q', ","]) == [
            ["a", "b"],
            ['x, "y"\r\nz', ""],
            ["", "q"],
        ]
        assert page.evaluate(code, ['a;b\rc"d;e; ;\r', ";"]) == [["a", "b"], ['c"d', "e"]]
