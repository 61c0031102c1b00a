#!/usr/bin/env python3
"""What delphi's embedding scorer makes of vectors, and a decoder's mean-pooled states.

delphi's EmbeddingScorer runs on records whose texts get vectors of our own; its
similarities go to scikit-learn's roc_auc_score, as delphi's log does with
probabilities. The interval is solved for with scipy from Newcombe's equation
(method 5). Texts also go through tests/golden/tiny-llama with transformers.

    python3 tests/oracle/embedding_oracle.py        # eai-delphi 0.1.3

Writes tests/golden/embedding.json.
"""
import json
import math
import random
from pathlib import Path
from types import SimpleNamespace

import torch
from delphi.latents import ActivatingExample, Latent, LatentRecord, NonActivatingExample
from delphi.scorers import EmbeddingScorer
from scipy.optimize import brentq
from sentence_transformers.util import cos_sim
from sklearn.metrics import roc_auc_score
from transformers import AutoModel, AutoTokenizer

root = Path(__file__).resolve().parents[2]
Z = 1.959963984540054


def interval(auc, m, n):
    """Where |t - auc| is Z standard errors of t."""
    def off(t):
        k = (m + n) / 2 - 1
        var = t * (1 - t) / (m * n) * (1 + k * (1 - t) / (2 - t) + k * t / (1 + t))
        return (t - auc) ** 2 - Z * Z * var
    low = 0.0 if auc == 0 else brentq(off, 1e-15, auc - 1e-9)
    high = 1.0 if auc == 1 else brentq(off, auc + 1e-9, 1 - 1e-15)
    return low, high


def case(name, n_on, n_off, dim, seed, lean=0.0, ties=False):
    g = torch.Generator().manual_seed(seed)
    query = torch.randn(dim, generator=g)
    texts, rows, truth = [], [], []
    for i in range(n_on + n_off):
        v = torch.randn(dim, generator=g) + (lean * query if i < n_on else 0)
        rows.append(rows[i - n_on] if ties and i >= n_on and i % 2 else v)
        texts.append(f"{name} text {i}")
        truth.append(int(i < n_on))
    of = dict(zip(texts, rows))
    model = SimpleNamespace(
        encode=lambda x: query if isinstance(x, str) else torch.stack([of[t] for t in x]), similarity=cos_sim)
    def example(kind, text, active):
        return kind(tokens=torch.zeros(1), activations=torch.tensor([active]), str_tokens=[text])
    record = LatentRecord(latent=Latent("layers.0.mlp", 0), explanation="a label",
                          test=[example(ActivatingExample, t, 1.0) for t, y in zip(texts, truth) if y],
                          not_active=[example(NonActivatingExample, t, 0.0) for t, y in zip(texts, truth) if not y])
    random.seed(0)
    got = {x.text: x.similarity for x in EmbeddingScorer(model).call_sync(record).score}
    near = [got[t] for t in texts]
    # areas from similarities in double, which do not part what is equal
    exact = [float(torch.nn.functional.cosine_similarity(query.double(), v.double(), 0)) for v in rows]
    auc = roc_auc_score(truth, exact)
    low, high = interval(auc, n_on, n_off)
    assert max(abs(a - b) for a, b in zip(near, exact)) < 1e-6
    return {"name": name, "query": query.tolist(), "vectors": [v.tolist() for v in rows], "truth": truth,
            "similarity": near, "auc": auc, "low": low, "high": high}


def pooled():
    """A decoder's states behind its final norm, the mean over tokens."""
    path = root / "tests/golden/tiny-llama"
    tok, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path, dtype=torch.float32).eval()
    texts = ["the quick brown fox", "Query: the fox", "jumps over the lazy dog, and on", "a"]
    with torch.inference_mode():
        v = [model(torch.tensor([tok(t)["input_ids"]])).last_hidden_state[0].double().mean(0) for t in texts]
    return {"texts": texts, "similarity": [float(torch.nn.functional.cosine_similarity(v[0], x, 0)) for x in v[1:]]}


out = {"cases": [case("chance", 10, 10, 24, 1), case("good", 10, 10, 24, 2, 0.5), case("perfect", 5, 7, 16, 3, 4.0),
                 case("worst", 4, 4, 16, 4, -4.0), case("ties", 8, 8, 12, 5, 0.3, True), case("few", 1, 3, 8, 6),
                 case("many", 60, 40, 8, 7, 0.2)], "pooled": pooled()}
assert all(math.isfinite(c["auc"]) for c in out["cases"])
(root / "tests/golden/embedding.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
print(*(f"{c['name']}: {c['auc']:.3f} ({c['low']:.3f} to {c['high']:.3f})" for c in out["cases"]), sep="\n")
