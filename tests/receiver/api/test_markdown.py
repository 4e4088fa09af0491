"""Markdown as HTML: each form that the page uses, text that must stay text, when the library is loaded."""

import subprocess
import sys

import pytest

from receiver.api.markdown import anchor, headings, html, inline

LINKS = {"GET /v1/events": "/docs#get-v1-events", "/docs": "/docs"}
TABLE = "<table><thead><tr>{head}</tr></thead><tbody><tr>{row}</tr></tbody></table>"


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("# One *word*", '<h1 id="one-word">One <em>word</em></h1>'),
        ("## The `webhook-id`", '<h2 id="the-webhook-id">The <code>webhook-id</code></h2>'),
        ("### job.late_result", '<h3 id="job-late-result">job.late_result</h3>'),
        ("one\ntwo\n\nthree", "<p>one\ntwo</p><p>three</p>"),
        ("one\n## Two\nthree", '<p>one</p><h2 id="two">Two</h2><p>three</p>'),
        ("- one\n  and more\n- two", "<ul><li>one\nand more</li><li>two</li></ul>"),
        ("1. one\n2. two", "<ol><li>one</li><li>two</li></ol>"),
        (
            "| a | b |\n|---|---|\n| `c` | d, e |",
            TABLE.format(head="<th>a</th><th>b</th>", row="<td><code>c</code></td><td>d, e</td>"),
        ),
        (
            "```sh\n# a\n\n<b> && `c`\n```\nd",
            '<pre><code class="language-sh"># a\n\n&lt;b&gt; &amp;&amp; `c`\n</code></pre><p>d</p>',
        ),
        ("a\n```sh a.sh\nb\n```", '<p>a</p><pre><code class="language-sh">b\n</code></pre>'),
        ("```\nb\n```", "<pre><code>b\n</code></pre>"),
        (
            "```json\n{}\n```",
            '<details><summary>example</summary><pre><code class="language-json">{}\n</code></pre></details>',
        ),
        (
            "a\n\n<script>alert(1)</script>\n\n<!-- b -->",
            "<p>a</p><p>&lt;script&gt;alert(1)&lt;/script&gt;</p><p>&lt;!-- b --&gt;</p>",
        ),
        ("| a |\n|---|\n| <b> |", TABLE.format(head="<th>a</th>", row="<td>&lt;b&gt;</td>")),
        ("# <b>", '<h1 id="b">&lt;b&gt;</h1>'),
        ("", ""),
    ],
)
def test_blocks(text: str, made: str) -> None:
    assert html(text, {}).replace(">\n", ">") == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a < b & 'c'", "a &lt; b &amp; 'c'"),
        ("`a < b` **c `d`**", "<code>a &lt; b</code> <strong>c <code>d</code></strong>"),
        ("[a `b`](https://c.example/?d&e)", '<a href="https://c.example/?d&amp;e">a <code>b</code></a>'),
        ("`*` and `**`", "<code>*</code> and <code>**</code>"),
        ('`"` and "', "<code>&quot;</code> and &quot;"),
        ("a <b onclick=x>b</b> <!-- c -->", "a &lt;b onclick=x&gt;b&lt;/b&gt; &lt;!-- c --&gt;"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("`<b>`", "<code>&lt;b&gt;</code>"),
        ("[a](javascript:b)", "[a](javascript:b)"),
    ],
)
def test_lines(text: str, made: str) -> None:
    assert inline(text) == made
    assert html(text, LINKS) == f"<p>{made}</p>\n"


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("`GET /v1/events`", '<a href="/docs#get-v1-events"><code>GET /v1/events</code></a>'),
        (
            "`GET /v1/events?after=evt_`",
            '<a href="/docs#get-v1-events"><code>GET /v1/events?after=evt_</code></a>',
        ),
        ("`/docs` `/docs/events`", '<a href="/docs"><code>/docs</code></a> <code>/docs/events</code>'),
        ("```sh\n/docs\n```", '<pre><code class="language-sh">/docs\n</code></pre>'),
    ],
)
def test_code_that_names_a_call_leads_to_it(text: str, made: str) -> None:
    assert html(text, LINKS).removeprefix("<p>").removesuffix("\n").removesuffix("</p>") == made


def test_the_same_text_has_the_links_of_each_time() -> None:
    assert html("`/a`", {"/a": "/b"}) == '<p><a href="/b"><code>/a</code></a></p>\n'
    assert html("`/a`", {"/a": "/c"}) == '<p><a href="/c"><code>/a</code></a></p>\n'
    assert html("`/a`", {}) == "<p><code>/a</code></p>\n"


def test_a_service_that_shows_no_page_does_not_load_the_library() -> None:
    looks = "import sys, receiver.cli.serve, receiver.app; print('markdown_it' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", looks], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


def test_the_headings_of_a_level_are_listed_without_those_in_code() -> None:
    assert headings("# A\n## B\n```sh\n## no\n```\n### C\n## D `e`", 2) == ("B", "D `e`")


def test_an_anchor_has_words_and_hyphens_only() -> None:
    assert anchor("GET /v1/jobs/{id}") == "get-v1-jobs-id"
    assert anchor("`webhook-id` & more") == "webhook-id-more"
