"""Measure how well languages are told by the length of a sentence, on text of known languages.

    python benchmarks/languages.py FOLDER [--probability 0.5]

FOLDER has a file for each language, `de.txt` and so on, one sentence a line. By length in
characters: how often the most probable language is the right one; then, for `languages: [RIGHT]`
and the given probability, how many are kept, dropped as unclear, and dropped as another language;
and how many a filter for another language of the folder would keep wrongly, on average.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

from driver import benchmark_parser, report

from seqae.data.sentences.language import _identifier

BINS = ((1, 10), (11, 20), (21, 40), (41, 80), (81, 400))
SAMPLE = 150  # of each language and length


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--probability", type=float, default=0.5)
    args = parser.parse_args()
    rng = random.Random(0)
    texts = {
        path.stem: path.read_text(encoding="utf-8").splitlines()
        for path in sorted(args.folder.glob("*.txt"))
    }
    codes = set(texts) & set(_identifier().labels)
    rows, result = [], []
    mistakes: Counter[tuple[str, str]] = Counter()
    begin, count = time.process_time(), 0
    for low, high in BINS:
        seen: Counter[str] = Counter()
        for code in sorted(codes):
            of_length = [text for text in texts[code] if low <= len(text) <= high]
            for text in rng.sample(of_length, min(SAMPLE, len(of_length))):
                ranks = _identifier().rank(text)
                by_code = dict(ranks)
                count += 1
                seen["all"] += 1
                seen["right"] += ranks[0][0] == code
                kept = by_code[code] >= args.probability
                seen["kept"] += kept
                seen["unclear"] += ranks[0][1] < args.probability
                seen["other"] += not kept and ranks[0][1] >= args.probability
                if not kept and ranks[0][1] >= args.probability and low > 20:
                    mistakes[code, ranks[0][0]] += 1
                wrong = sum(by_code[other] >= args.probability for other in codes - {code})
                seen["wrong"] += wrong
        measured = {"characters": f"{low} to {high}", "sentences": seen["all"]}
        for name in ("right", "kept", "unclear", "other"):
            measured[name] = f"{100 * seen[name] / max(1, seen['all']):.1f} %"
        share = seen["wrong"] / max(1, seen["all"] * (len(codes) - 1))
        measured["kept by another filter"] = f"{100 * share:.2f} %"
        rows.append({name: f"{value}" for name, value in measured.items()})
        result.append(measured)
    seconds = (time.process_time() - begin) / count
    print(f"{len(codes)} languages: {', '.join(sorted(codes))}; {seconds * 1e6:.0f} us a sentence")
    print("most frequent confusions over 20 characters:", mistakes.most_common(12))
    report(rows, result, args.output)


if __name__ == "__main__":
    main()
