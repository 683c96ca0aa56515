"""`seqae serve`: a page with one or two models behind it, and their JSON API."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import seqae
from seqae.component import check_range, check_seed
from seqae.extras import extra
from seqae.tasks.evaluate.texts import sentences_or_split
from seqae.tasks.inputs import Instead, check_source
from seqae.tasks.plot.figure_inputs import names_of
from seqae.tasks.serve.listening import check_port, listen, run_until_interrupted, url_of
from seqae.tasks.serve.model_answers import ModelAnswers
from seqae.tasks.serve.served_map import served_map
from seqae.tasks.serve.served_page import served_page
from seqae.terminal import visible
from seqae.web.projection import Method

INSTEAD = Instead("`texts`", "seqae serve MODEL --texts FILE")
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
    models: list[str],
    texts: str | None = None,
    map: Method = "pca",  # noqa: A002 - the name of the option
    points: int = 5000,
    seed: int = 0,
    host: str = "127.0.0.1",
    port: int = 8765,
    rate: float = 200.0,
    no_browser: bool = False,
    device: str = "auto",
) -> None:
    """Open a page with a model behind it: type a text, click on the map, draw, summarize.

    The URL that is printed holds a token; whoever has it may use the model. Ctrl-C ends the server.
    `/api/openapi.json` describes its JSON API.

    Example:
        seqae serve demo
        seqae serve runs/mine runs/other --texts unseen.txt --map tsne --port 9000

    Args:
        models: one or two bundles, folders of runs, addresses, or `demo`.
        texts: sentences of the map: a file, or anything else that `data.train` accepts; by default
            the test split of the data that the model was trained on.
        map: how latents come onto the plane: pca; tsne (which keeps neighbours together; extra
            `map`) or umap (if umap-learn is installed).
        points: sentences of the map at most, drawn at random.
        seed: of that draw and of the projection.
        host: address to listen at; any but 127.0.0.1, ::1 and localhost can be reached from other
            machines.
        port: to listen at; 0 takes a free one.
        rate: requests that one client may make, in requests per second; twice as many at once.
        no_browser: do not open the page in a browser.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
    """
    with extra("web"):
        import starlette  # noqa: F401 - before minutes are spent on encoding
        import uvicorn  # noqa: F401
    if len(models) > 2:
        raise ValueError(
            f"`models` must be one or two, but there are {len(models)} instead. Leave some out."
        )
    check_range("points", points, 1, 10**6)
    check_seed(seed)
    check_range("rate", rate, 0.1, 1e6)
    check_port(port)
    check_source(texts, "texts")
    with listen(host, port) as listener:
        answers = load_answers(models, texts, map, points, seed, device)
        token = secrets.token_urlsafe(24)
        url = url_of(host, listener)
        if host not in LOOPBACK:
            print(
                f"seqae: other machines can reach {visible(host)}, and what they send is not "
                f"encrypted. `ssh -L` and the default host are safer.",
                file=sys.stderr,
            )
        page = served_page(models, answers)
        print(f"{url}/?token={token}", flush=True)
        print("seqae: Ctrl-C ends the server", file=sys.stderr, flush=True)
        if not no_browser and sys.stdout.isatty():
            threading.Thread(
                target=webbrowser.open, args=(f"{url}/?token={token}",), daemon=True
            ).start()
        names = frozenset({"localhost", socket.gethostname().lower(), host.lower()})
        run_until_interrupted(answers, page, token, names, rate, listener)
    # Nothing is left to save, and taking the models and their thread apart took more than 10 s.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def load_answers(
    models: Sequence[str], texts: str | None, method: Method, points: int, seed: int, device: str
) -> list[ModelAnswers]:
    """Load models and draw their maps.

    Args:
        models: bundles, folders of runs, addresses, or `demo`.
        texts: a file of sentences, or None for those of each model's own data.
        method: of the projection.
        points: most sentences of a map.
        seed: of all random draws.
        device: where to compute.
    """
    answers = []
    for where, name in zip(models, names_of(models), strict=True):
        model = seqae.load(where, device)
        own = sentences_or_split(model, Path(where), texts, "texts", INSTEAD)
        answers.append(ModelAnswers(name, model, served_map(model, own, method, points, seed)))
    return answers
