"""Questions of somebody who does not know the project: each has its answer two clicks away.

The first click leads from README, or from the first page of the site, to a page; the second to the
section. A word of the answer stands there.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.paths import ROOT

DOCS = ROOT / "docs"
LINKED = re.compile(r"\]\((?!https?:)([\w./-]+\.md)")
GRAY = "Your images are grayscale, transparent, or in other formats"
IMBALANCE = "Class imbalance: some classes have many more photos"
CALLBACKS = "Weights & Biases, MLflow, TensorBoard"
PTH = "You have a .pth or .bin file, or a link to one"
# Question, page, section, what the answer says.
QUESTIONS = [
    ("How do I install it for my GPU?", "getting_started", "Install", "tensorflow[and-cuda]"),
    ("Why is my GPU not used?", "troubleshooting", "The GPU is not found", "nvidia-smi"),
    ("Does it run on Windows or a Mac?", "getting_started", "Install", "Windows"),
    ("Which backends can I install?", "getting_started", "Install", "KERAS_BACKEND=torch"),
    ("Which model do I take on a laptop?", "models", "On a laptop, without a GPU", "ViT_S16"),
    ("How do I use my own photos?", "fine_tune", "Fine-tune on your photos", "finetune --data"),
    ("My labels are in a CSV. What now?", "fine_tune", "Your labels are in a table", "csv.reader"),
    ("I have ten photos a class. Enough?", "fine_tune", "You have few photos", "few-shot"),
    ("My images are gray.", "fine_tune", GRAY, "np.repeat"),
    ("One class has most photos.", "fine_tune", IMBALANCE, "class_weight"),
    ("Can `finetune` take callbacks?", "fine_tune", CALLBACKS, "takes no callbacks"),
    ("A photo shows several things.", "fine_tune", "A photo can show several classes", "sigmoid"),
    ("The training was killed. And now?", "fine_tune", "Resume an interrupted run", "Repeat"),
    ("Does it fit into my GPU's memory?", "plan", "Plan a training", "--memory 16"),
    ("How do I train my run further?", "fine_tune", "Start from a run of your own", "save_weights"),
    ("What will my own photos need?", "plan", "Plan a training", "finetune --data photos"),
    (
        "How do I get features of my own run?",
        "features",
        "Features of your own model",
        "runs/photos",
    ),
    ("How do I find similar images?", "models", "Get features", "similarity"),
    ("Can it detect or segment objects?", "models", "Get features", "no heads for detection"),
    ("Can I use images of 384 x 512?", "models", "Use another image size", "(384, 512, 3)"),
    (
        "Which names has an exported file?",
        "deploy",
        "Where the class names come from",
        "labels.txt",
    ),
    ("How do I serve my own run?", "deploy", "From your own run to TF Serving", "models/photos/1"),
    ("Does it export to Core ML?", "deploy", "TFLite on Android and iOS", "Core ML"),
    ("`auto` or `mirrored`?", "distribution", "From the shell", "With none, `auto`"),
    ("How do I serve it with Docker?", "deploy", "TF Serving", "docker compose up"),
    ("How do I run it on Android?", "deploy", "TFLite on Android and iOS", "Classifier.kt"),
    ("I have a link to a .pth.", "convert", PTH, "weights_only=True"),
    ("Does it work with PyTorch?", "distribution", "PyTorch", "KERAS_BACKEND=torch"),
    ("There is no network.", "troubleshooting", "No network", "KERAS_VIT_CACHE"),
    ("All answers are wrong.", "troubleshooting", "The label is wrong", "[-1, 1]"),
    ("I used timm until now.", "coming_from", "From timm", "from_checkpoint"),
    ("What may I do with it?", "README", "Licence and citation", "Apache-2.0"),
    ("How do I cite it?", "README", "Licence and citation", "@inproceedings"),
    ("How do I cite BiT?", "models", "How to cite", "1912.11370"),
    ("How do I cite distilled BiT?", "models", "How to cite", "2106.05237"),
    ("Where is the repository?", "CONTRIBUTING", "Report a bug", "no public address yet"),
    ("How do I report a bug?", "CONTRIBUTING", "Report a bug", "issues/new"),
    ("How do I add a model?", "CONTRIBUTING", "Add a model", "variants.py"),
    ("I found a security problem.", "SECURITY", "Report a problem", "advisories"),
    ("What changed?", "CHANGELOG", "Unreleased", "###"),
]


def shown(page: Path) -> Path:
    """A page, or the page of the root that it shows."""
    included = re.fullmatch(r"```{include} (\S+)\n```", page.read_text("utf-8").strip())
    return (page.parent / included[1]).resolve() if included else page


def one_click_from(start: Path) -> set[Path]:
    links = LINKED.findall(start.read_text("utf-8"))
    return {start, *(shown((start.parent / link).resolve()) for link in links)}


def section(page: Path, heading: str) -> str:
    """What stands below a heading, up to the next one that is not below it."""
    level, text = re.findall(
        rf"^(#+) {re.escape(heading)}$\n(.*)", page.read_text("utf-8"), re.M | re.S
    )[0]
    code = iter(re.split(r"(^```.*?^```$)", text, flags=re.M | re.S))
    parts = []
    for prose in code:
        before, *more = re.split(rf"^#{{1,{len(level)}}} ", prose, maxsplit=1, flags=re.M)
        parts += [before] if more else [prose, next(code, "")]
        if more:
            break
    return "".join(parts)


@pytest.mark.parametrize(("question", "name", "heading", "answer"), QUESTIONS)
def test_a_question_is_answered_within_two_clicks(question, name, heading, answer):
    page = ROOT / f"{name}.md" if name.isupper() else DOCS / f"{name}.md"
    assert answer in section(page, heading), question
    assert page in one_click_from(ROOT / "README.md"), question
    if name != "README":  # the site has its own first page
        assert page in one_click_from(DOCS / "index.md"), question
