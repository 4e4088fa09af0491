"""Inputs refused before money is spent: fields of a wrong type, and combinations that a provider refuses."""

from collections.abc import Mapping
from typing import Any

import pytest

from handlers.contract import Submission
from tests.handlers.captures import HANDLERS

TEXT = [{"type": "text", "text": "a tide"}]
FINE: Mapping[str, tuple[str, dict[str, Any]]] = {
    "apiframe": ("runway-imagine", {"prompt": "a tide", "generation_type": "text2video", "duration": 5}),
    "apiframe-v2": ("videos-generate", {"model": "m", "prompt": "a tide"}),
    "aiml": ("video", {"model": "m", "content": TEXT}),
    "getimg": ("video", {"model": "m", "prompt": "a tide", "duration": 5}),
    "imagineo": (
        "generate-video",
        {"prompt": "a tide", "image_url": "https://h.example/i.png", "duration": 5},
    ),
    "minimax": ("video", {"model": "T2V-01", "prompt": "a tide", "duration": 6}),
    "gately": ("video", {"model": "T2V-01", "prompt": "a tide"}),
    "replicate": ("prediction", {"version": "v" * 64, "input": {"prompt": 5}}),
    "assemblyai": ("transcript", {"audio_url": "https://h.example/a.mp3"}),
    "dashscope": ("video", {"model": "wan2.2-t2v-plus", "input": {"prompt": "a tide"}}),
    "openai": ("response", {"model": "gpt-5", "background": True, "input": "a tide"}),
    "runware": ("video", {"taskType": "videoInference", "model": "klingai:5@3", "positivePrompt": "a tide"}),
    "veo-gemini": ("veo-3.1-generate-preview", {"instances": [{"prompt": "a tide"}]}),
    "vidu": ("img2video", {"model": "viduq1", "images": ["https://h.example/i.png"], "prompt": "a tide"}),
    "xai": ("generations", {"model": "grok-imagine-video", "prompt": "a tide", "duration": 8}),
    "ideogram": ("generate", {"text_prompt": "a tide"}),
    "tavus": ("video", {"replica_id": "r-1", "script": "a tide"}),
    "meshy": ("text-to-3d", {"mode": "preview", "prompt": "a tide"}),
    "tripo": ("text-to-model", {"prompt": "a tide"}),
    "modelslab": ("text2video", {"model_id": "cogvideox", "prompt": "a tide"}),
    "zhipu": ("video", {"model": "cogvideox-3", "prompt": "a tide"}),
    "together": ("video", {"model": "m", "prompt": "a tide"}),
}
WRONG = [
    *((name, {"prompt": 5}, "/prompt") for name in FINE if "prompt" in FINE[name][1]),
    ("assemblyai", {"audio_url": ""}, "/audio_url"),
    ("dashscope", {"input": "a tide"}, "/input"),
    ("dashscope", {"model": None}, "/model"),
    ("openai", {"background": False}, "/background"),
    ("openai", {"background": "true"}, "/background"),
    ("runware", {"positivePrompt": 5}, "/positivePrompt"),
    ("runware", {"taskType": None}, "/taskType"),
    ("veo-gemini", {"instances": {"prompt": "a tide"}}, "/instances"),
    ("vidu", {"images": []}, "/images"),
    ("vidu", {"model": ""}, "/model"),
    ("xai", {"duration": "8"}, "/duration"),
    ("xai", {"prompt": " "}, "/prompt"),
    ("apiframe", {"flip": "yes"}, "/flip"),
    ("apiframe", {"index": 1}, "/index"),
    ("apiframe-v2", {"model": 5}, "/model"),
    ("aiml", {"content": "a tide"}, "/content"),
    ("aiml", {"content": ["x"]}, "/content/0"),
    ("aiml", {"content": [{"type": "text"}]}, "/content/0/text"),
    ("aiml", {"content": [*TEXT, {"type": "image_url"}]}, "/content/1/image_url/url"),
    ("getimg", {"duration": "5"}, "/duration"),
    ("getimg", {"sound": "yes"}, "/sound"),
    ("getimg", {"images": {}}, "/images"),
    ("getimg", {"images": [{"role": "last_frame", "url": "u"}]}, "/images"),
    (
        "getimg",
        {"images": [{"role": "first_frame", "url": "u"}, {"role": "reference_image", "url": "u"}]},
        "/images",
    ),
    ("imagineo", {"fps": "24"}, "/fps"),
    ("imagineo", {"image_url": ["u"]}, "/image_url"),
    ("minimax", {"subject_reference": "u"}, "/subject_reference"),
    ("minimax", {"prompt_optimizer": 1}, "/prompt_optimizer"),
    ("replicate", {"version": 5}, "/version"),
    ("replicate", {"input": "a tide"}, "/input"),
    ("ideogram", {"text_prompt": 5}, "/text_prompt"),
    ("ideogram", {"json_prompt": {"subject": "a tide"}}, "/text_prompt"),
    ("ideogram", {"text_prompt": None}, "/text_prompt"),
    ("tavus", {"replica_id": ""}, "/replica_id"),
    ("tavus", {"script": None}, "/script"),
    ("meshy", {"mode": "final"}, "/mode"),
    ("tripo", {"prompt": " "}, "/prompt"),
    ("modelslab", {"prompt": ""}, "/prompt"),
    ("zhipu", {"prompt": None}, "/prompt"),
    ("together", {"model": None}, "/model"),
]
WARNED = [
    ("apiframe", {"generation_type": "image2video"}, "/image_url"),
    ("getimg", {"images": [{"role": "first_frame"}]}, "/images/0/url"),
    ("minimax", {"model": "I2V-01"}, "/first_frame_image"),
    ("minimax", {"model": "S2V-01"}, "/subject_reference"),
    ("minimax", {"last_frame_image": "u"}, "/first_frame_image"),
]


def found(name: str, change: Mapping[str, Any], *, warning: bool) -> list[str]:
    """Return the pointers of the problems or warnings that `change` causes in an otherwise fine input."""
    operation, given = FINE[name]
    problems = HANDLERS[name].check(Submission("", operation, {**given, **change}))
    return [problem.pointer for problem in problems if problem.warning is warning]


@pytest.mark.parametrize("name", FINE)
def test_a_fine_input_passes_and_null_counts_as_left_out(name: str) -> None:
    assert found(name, {}, warning=False) == []
    assert found(name, {"aspect_ratio": None, "unknown": object()}, warning=False) == []


@pytest.mark.parametrize(("name", "change", "pointer"), WRONG)
def test_a_field_that_the_provider_would_refuse_is_refused(
    name: str, change: Mapping[str, Any], pointer: str
) -> None:
    assert found(name, change, warning=False) == [pointer]


@pytest.mark.parametrize(("name", "change", "pointer"), WARNED)
def test_what_a_page_asks_for_is_a_warning(name: str, change: Mapping[str, Any], pointer: str) -> None:
    assert found(name, change, warning=True) == [pointer]
    assert found(name, change, warning=False) == []


def test_a_template_of_vidu_has_no_model() -> None:
    assert HANDLERS["vidu"].check(Submission("", "template-story", {"story": "love_story_1"})) == []


def test_a_batch_of_openai_needs_a_file_an_endpoint_and_a_window() -> None:
    problems = HANDLERS["openai"].check(Submission("", "batch", {"input_file_id": "file-1"}))
    assert [one.pointer for one in problems] == ["/endpoint", "/completion_window"]


def test_songs_need_a_prompt_or_lyrics() -> None:
    check = HANDLERS["apiframe"].check
    assert [one.pointer for one in check(Submission("", "suno-imagine", {}))] == ["/prompt"]
    assert check(Submission("", "suno-imagine", {"lyrics": "water over sand"})) == []
