#!/usr/bin/env python3
"""track_wandb.py PROJECT RUN < metrics.jsonl

Hands a run's metrics to Weights & Biases through its own package, which must be
installed. WANDB_MODE says how, and offline is the default: `wandb sync` sends
later what then lies under WANDB_DIR. Lines of one step become one entry, as
r1track(1) names their numbers.
"""
import json
import os
import sys

import wandb


def numbers(obj, prefix, outer=True):
    for key, v in obj.items():
        if isinstance(v, dict):
            yield from numbers(v, f"{prefix}{key}/", False)
        elif isinstance(v, (int, float)) and not isinstance(v, bool):
            if not (outer and key in ("step", "layer")):
                yield prefix + key, v


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n\n")[0])
    os.environ.setdefault("WANDB_MODE", "offline")
    run = wandb.init(project=sys.argv[1], name=sys.argv[2])
    for text in sys.stdin:
        try:
            line = json.loads(text)
        except ValueError:
            if text.endswith("\n"):
                raise
            break               # half a line of a killed writer
        prefix = f"{line['event']}/" if "event" in line else ""
        if "layer" in line:
            prefix += f"layer{line['layer']}/"
        run.log(dict(numbers(line, prefix)), step=line.get("step"))
    run.finish()


main()
