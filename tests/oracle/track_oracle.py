#!/usr/bin/env python3
"""The trackers' own readers on what r1track and track_wandb.py hand them.

    python3 tests/oracle/track_oracle.py tensorboard|trackio|wandb|mlflow

in an environment that has the package; checked with tensorboard 2.21.0, trackio
0.43.0, wandb 0.31.0 and mlflow 3.17.2. Ends with an error when a number is not
read as it stands in tests/golden/track/metrics.jsonl.
"""
import glob
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import time

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(os.path.dirname(here))
metrics = f"{root}/tests/golden/track/metrics.jsonl"
work = tempfile.mkdtemp()


def numbers(v, name):
    if isinstance(v, dict):
        for k, inner in v.items():
            yield from numbers(inner, f"{name}/{k}")
    elif isinstance(v, (int, float)):
        yield name, v


def wanted():
    """{(tag, step): value}"""
    out = {}
    for text in open(metrics):
        line = json.loads(text)
        step, layer, event = line.pop("step", 0), line.pop("layer"), line.pop("event", None)
        for k, v in line.items():
            for tag, value in numbers(v, k):
                out[(f"{event}/" if event else "") + f"layer{layer}/{tag}", step] = value
    return out


def r1track(*args):
    with open(metrics) as f:
        subprocess.run([f"{root}/bin/r1track", *args, "--project", "p", "--run", "the run"],
                       stdin=f, check=True)


def tensorboard():
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    r1track("--to", "tensorboard", "--out", work)
    a = EventAccumulator(f"{work}/the run", size_guidance={"scalars": 0}).Reload()
    return {(t, s.step): s.value for t in a.Tags()["scalars"] for s in a.Scalars(t)}


def trackio():
    os.environ["TRACKIO_DIR"] = work
    r1track("--to", "trackio")
    from trackio import fragments
    from trackio.sqlite_storage import SQLiteStorage
    first = fragments.import_inbox_dir()
    r1track("--to", "trackio")          # told again: nothing twice
    fragments.import_inbox_dir()
    rows = SQLiteStorage.get_logs("p", "the run")
    assert len(rows) == first, (len(rows), first)
    return {(k, r["step"]): v for r in rows for k, v in r.items()
            if k not in ("step", "timestamp")}


def wandb():
    os.environ["WANDB_DIR"] = work
    with open(metrics) as f:
        subprocess.run([sys.executable, f"{root}/pipelines/track_wandb.py", "p", "the run"],
                       stdin=f, check=True)
    from wandb.proto import wandb_internal_pb2
    out = {}
    for data in wandb_records(glob.glob(f"{work}/wandb/offline-run-*/*.wandb")[0]):
        r = wandb_internal_pb2.Record()
        r.ParseFromString(data)
        if r.WhichOneof("record_type") == "history":
            row = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in r.history.item}
            step = row.pop("_step", r.history.step.num)
            out.update({(k, step): v for k, v in row.items() if not k.startswith("_")})
    return out


def wandb_records(path):
    """Its run file: a log of LevelDB's kind behind seven bytes."""
    with open(path, "rb") as f:
        data = f.read()
    assert data[:4] == b":W&B"
    at, whole = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        n, kind = int.from_bytes(data[at + 4:at + 6], "little"), data[at + 6]
        if kind == 0:
            break
        whole = data[at + 7:at + 7 + n] if kind in (1, 2) else whole + data[at + 7:at + 7 + n]
        at += 7 + n
        if kind in (1, 4):
            yield whole


def mlflow():
    import mlflow as m
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen([sys.executable, "-m", "mlflow", "server", "--port", str(port),
                               "--backend-store-uri", f"sqlite:///{work}/m.db", "--workers", "1"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(240):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.5)
        r1track("--to", "mlflow", "--out", url)
        client = m.MlflowClient(url)
        e = client.get_experiment_by_name("p")
        run, = client.search_runs([e.experiment_id])
        assert run.info.run_name == "the run" and run.info.status == "FINISHED", run.info
        return {(k, v.step): v.value for k in run.data.metrics
                for v in client.get_metric_history(run.info.run_id, k)}
    finally:
        server.terminate()


got = {"tensorboard": tensorboard, "trackio": trackio, "wandb": wandb, "mlflow": mlflow}[sys.argv[1]]()
want = wanted()
if sys.argv[1] == "wandb":  # what has no step comes behind the last there
    last = max(step for _, step in want)
    want = {(tag, step or last): v for (tag, step), v in want.items()}
    got = {(tag, min(step, last)): v for (tag, step), v in got.items()}
bad = [k for k in want if k not in got or not math.isclose(got[k], want[k], rel_tol=1e-6)]
extra = [k for k in got if k not in want]
print(f"{sys.argv[1]}: {len(want)} numbers wanted, {len(got)} read")
if bad or extra:
    sys.exit(f"not so: {bad[:5]}; not wanted: {extra[:5]}")
