"""Markdown as HTML: each form that the page uses, and text that must stay text."""

import pytest

from receiver.api.markdown import anchor, headings, html, inline

LINKS = {"GET /v1/events": "/docs#get-v1-events", "/docs": "/docs"}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("# One *word*", '<h1 id="one-word">One *word*</h1>'),
        ("### job.late_result", '<h3 id="job-late-result">job.late_result</h3>'),
        ("one\ntwo\n\nthree", "<p>one two</p><p>three</p>"),
        ("one\n## Two\nthree", '<p>one</p><h2 id="two">Two</h2><p>three</p>'),
        ("- one\n  and more\n- two", "<ul><li>one and more</li><li>two</li></ul>"),
        ("1. one\n2. two", "<ol><li>one</li><li>two</li></ol>"),
        (
            "| a | b |\n|---|---|\n| `c` | d, e |",
            "<table><tr><th>a</th><th>b</th></tr><tr><td><code>c</code></td><td>d, e</td></tr></table>",
        ),
        (
            "```sh\n# a\n\n<b> && `c`\n```\nd",
            "<pre><code># a\n\n&lt;b&gt; &amp;&amp; `c`</code></pre><p>d</p>",
        ),
        ("a\n```sh a.sh\nb\n```", "<p>a</p><pre><code>b</code></pre>"),
        (
            "```json\n{}\n```",
            "<details><summary>example</summary><pre><code>{}</code></pre></details>",
        ),
        ("", ""),
    ],
)
def test_blocks(text: str, made: str) -> None:
    assert html(text, {}) == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a < b & 'c'", "a &lt; b &amp; 'c'"),
        ("`a < b` **c `d`**", "<code>a &lt; b</code> <b>c <code>d</code></b>"),
        ("[a `b`](https://c.example/?d&e)", '<a href="https://c.example/?d&amp;e">a <code>b</code></a>'),
        ("`GET /v1/events`", '<a href="/docs#get-v1-events"><code>GET /v1/events</code></a>'),
        (
            "`GET /v1/events?after=evt_`",
            '<a href="/docs#get-v1-events"><code>GET /v1/events?after=evt_</code></a>',
        ),
        ("`/docs` `/docs/events`", '<a href="/docs"><code>/docs</code></a> <code>/docs/events</code>'),
        ("`*` and `**`", "<code>*</code> and <code>**</code>"),
        ('`"` and "', '<code>"</code> and "'),
    ],
)
def test_lines(text: str, made: str) -> None:
    assert inline(text, LINKS) == made


def test_the_headings_of_a_level_are_listed_without_those_in_code() -> None:
    assert headings("# A\n## B\n```sh\n## no\n```\n### C\n## D `e`", 2) == ["B", "D `e`"]


def test_an_anchor_has_words_and_hyphens_only() -> None:
    assert anchor("GET /v1/jobs/{id}") == "get-v1-jobs-id"
    assert anchor("`webhook-id` & more") == "webhook-id-more"
