#!/usr/bin/env python3
"""dataset.py [--field NAME] [--bytes N] FILE... > docs.jsonl

Rows of parquet or (gzipped) JSON-lines files of a Hugging Face data set as
JSON lines {"id", "source", "messages"} where there is a column messages, else
{"id", "source", "text"} with the column --field. Parquet needs pyarrow on
PYTHONPATH, which pipelines/phase0.mk fetches where a release has parquet.
"""
import argparse
import gzip
import json
import os
import signal
import sys


def rows(path, field):
    if path.endswith(".parquet"):
        import pyarrow.parquet
        f = pyarrow.parquet.ParquetFile(path)
        columns = ["messages"] if "messages" in f.schema_arrow.names else [field]
        for batch in f.iter_batches(256, columns=columns):
            yield from batch.to_pylist()
    else:
        with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
            for line in f:
                yield json.loads(line)


def document(row, field, name):
    if row.get("messages"):
        return {"id": name, "messages": [
            {"role": m["role"], "content": m["content"]} for m in row["messages"]]}
    return {"id": name, "text": row[field]}


def write(files, field, limit):
    total = 0
    for path in files:
        for i, row in enumerate(rows(path, field)):
            line = json.dumps(document(row, field, f"{os.path.basename(path)}#{i}"),
                              ensure_ascii=False)
            print(line)
            total += len(line)
            if limit and total >= limit:
                return


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    ap = argparse.ArgumentParser(description="data sets as JSON lines")
    ap.add_argument("--field", default="text")
    ap.add_argument("--bytes", type=int, default=0, help="stop after so many; 0: all")
    ap.add_argument("file", nargs="+", help="files, or folders of them")
    a = ap.parse_args()
    files = []
    for f in a.file:
        files += (sorted(os.path.join(d, n) for d, _, ns in os.walk(f) for n in ns)
                  if os.path.isdir(f) else [f])
    files = [f for f in files if f.endswith((".parquet", ".jsonl", ".json.gz", ".jsonl.gz"))]
    if not files:
        sys.exit("dataset: no parquet or JSON lines in " + " ".join(a.file))
    try:
        write(files, a.field, a.bytes)
        sys.stdout.flush()
    except (OSError, KeyError, ImportError, json.JSONDecodeError) as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(f"dataset: {type(e).__name__}: {e}")


if __name__ == "__main__":
    main()
