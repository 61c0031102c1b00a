#!/bin/bash
# r1track.sh: what trackers are handed, read back byte by byte by the rules of
# each (tests/oracle/track_oracle.py asks the trackers themselves). TAP.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
export PATH=${BIN:-$PWD/bin}:$PATH
golden=$PWD/tests/golden/track/metrics.jsonl
w=$(mktemp -d) || exit 1
trap 'rm -rf "$w"' EXIT
rc=0
check() { local what=$1; shift; if "$@" >"$w/check.log" 2>&1; then echo "ok r1track: $what"; else
	tail -n 8 "$w/check.log" | sed 's/^/# /'; echo "not ok r1track: $what"; rc=1; fi; }
# refuses WHAT EXIT PATTERN WORDS...
refuses() {
	local what=$1 want=$2 pattern=$3 got
	shift 3
	r1track "$@" >"$w/out" 2>"$w/err"; got=$?
	check "$what" eval "cat $w/err; [ $got = $want ] && [ ! -s $w/out ] && [ \$(wc -l <$w/err) = 1 ] && grep -qE -- \"$pattern\" $w/err"
}

cat >"$w/judge.py" <<'PY'
import glob, json, math, struct, sys
what, folder, source = sys.argv[1:]

def numbers(v, name):
    if isinstance(v, dict):
        for k, inner in v.items():
            yield from numbers(inner, f"{name}/{k}")
    elif isinstance(v, (int, float)):
        yield name, v

want = {}
for text in open(source):
    line = json.loads(text)
    step, layer, event = line.pop("step", 0), line.pop("layer"), line.pop("event", None)
    for k, v in line.items():
        for tag, value in numbers(v, k):
            want[(f"{event}/" if event else "") + f"layer{layer}/{tag}", step] = value

def crc(data):
    c = 0xFFFFFFFF
    for b in data:
        c ^= b
        for _ in range(8):
            c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
    c ^= 0xFFFFFFFF
    return ((c >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF

def fields(data):
    at = 0
    def varint():
        nonlocal at
        v = shift = 0
        while True:
            b = data[at]
            at += 1
            v |= (b & 127) << shift
            shift += 7
            if b < 128:
                return v
    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            v = varint()
        else:
            n = {1: 8, 5: 4}.get(kind) or varint()
            v = data[at:at + n]
            assert len(v) == n
            at += n
        yield key >> 3, v

def tensorboard():
    name, = glob.glob(folder + "/*/events.out.tfevents.*")
    data, at, first = open(name, "rb").read(), 0, True
    assert crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
    while at < len(data):
        n, = struct.unpack_from("<Q", data, at)
        assert struct.unpack_from("<I", data, at + 8)[0] == crc(data[at:at + 8])
        event = data[at + 12:at + 12 + n]
        assert struct.unpack_from("<I", data, at + 12 + n)[0] == crc(event)
        at += 16 + n
        e = dict(fields(event))
        assert struct.unpack("<d", e[1])[0] > 1.6e9
        if first:
            assert e[3] == b"brain.Event:2", e
            first = False
            continue
        for f, v in fields(e[5]):
            value = dict(fields(v))
            yield (value[1].decode(), e[2]), struct.unpack("<f", value[2])[0]

def trackio():
    seen = set()
    for name in sorted(glob.glob(folder + "/inbox/*/*")):
        assert name.endswith(".jsonl"), name
        for text in open(name):
            r = json.loads(text)
            assert list(r) == ["v", "kind", "project", "run", "run_id", "metrics", "step", "timestamp",
                               "config", "log_id"] and r["v"] == 1 and r["kind"] == "metric", r
            assert (r["project"], r["run"]) == ("p", "the run") and r["log_id"] not in seen
            seen.add(r["log_id"])
            for k, v in r["metrics"].items():
                yield (k, r["step"]), v

got = dict({"tensorboard": tensorboard, "trackio": trackio}[what]())
assert got.keys() == want.keys(), sorted(got.keys() ^ want.keys())[:5]
for k in want:
    assert math.isclose(got[k], want[k], rel_tol=1e-6), (k, got[k], want[k])
PY
for t in tensorboard trackio; do
	r1track --to $t --out "$w/$t" --project p --run 'the run' <"$golden"
	check "$t: every number of every step" python3 "$w/judge.py" $t "$w/$t" "$golden"
done
name=$(cd "$w/trackio/inbox" && ls)
cp -r "$w/trackio" "$w/again"
sed -i 's/"timestamp":"[^"]*"//' "$w/again"/inbox/*/*
TRACKIO_DIR=$w/told r1track --to trackio --project p --run 'the run' <"$golden"
sed -i 's/"timestamp":"[^"]*"//' "$w/told"/inbox/*/*
check 'trackio: told again, the same names and ids; TRACKIO_DIR' diff -r "$w/again" "$w/told"
r1track --to trackio --out "$w/other" --project p --run other <"$golden"
check 'trackio: another run is another writer' eval "[ \$(ls $w/other/inbox) != $name ]"
(while IFS= read -r -n 1 -d '' c; do printf '%s' "$c"; done <"$golden") | r1track --to trackio --out "$w/bytes" --project p --run 'the run'
sed -i 's/"timestamp":"[^"]*"//' "$w"/bytes/inbox/*/*
check 'lines cut anywhere' eval "cat $w/bytes/inbox/$name/* | cmp - <(cat $w/again/inbox/$name/*)"

# Live: what was written is there while the writer goes on.
mkfifo "$w/pipe"
r1track --out "$w/live" <"$w/pipe" & pid=$!
exec 7>"$w/pipe"
head -n 7 "$golden" >&7
for i in $(seq 60); do sleep 0.1; [ "$(stat -c %s "$w"/live/run/* 2>/dev/null || echo 0)" -gt 500 ] && break; done
check 'live: visible within seconds' eval "[ \$(stat -c %s $w/live/run/*) -gt 500 ] && kill -0 $pid"
exec 7>&-
wait $pid
check 'live: ends well' eval "[ $? = 0 ]"

head -c -20 "$golden" >"$w/half"
check 'half a last line is passed over' eval "r1track --to trackio --out $w/half.out --project p --run 'the run' <$w/half && head -n -1 $golden >$w/whole && python3 $w/judge.py trackio $w/half.out $w/whole"
printf '{"step": 1, "fvu": 1}\nnonsense\n' >"$w/bad"
refuses 'a line that is no JSON' 1 'line 2: ' --out "$w/x" <"$w/bad"
check 'and what stood before it is kept' eval "grep -q fvu $w/x/run/*"
refuses 'a line that is no object' 1 'line 1: is no JSON object' --out "$w/x" <<<'[1]'
refuses 'a negative step' 1 'line 1: ' --out "$w/x" <<<'{"step": -1, "a": 1}'
refuses 'objects without end' 1 'deeper than' --out "$w/x" <<<"$(printf '{"a":%.0s' {1..20})1$(printf '}%.0s' {1..20})"
refuses 'no numbers' 1 'no numbers' --out "$w/x" </dev/null
refuses 'no folder' 2 '--out is missing' --to tensorboard </dev/null
touch "$w/file"
refuses 'a folder that cannot be' 1 "$w/file" --out "$w/file" <"$golden"
(trap '' XFSZ; ulimit -f 1; r1track --out "$w/full" <"$golden" 2>"$w/err"); got=$?
check 'a disk that fills' eval "[ $got = 1 ] && [ \$(wc -l <$w/err) = 1 ]"

# ---- MLflow, stood in for by a server that keeps its rules ---------------------
cat >"$w/mlflow.py" <<'PY'
import http.server, json, sys, urllib.parse
fail = {"runs/log-batch": 1}
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a): pass
    def answer(self, status, obj):
        body = json.dumps(obj).encode()
        self.send_response(status)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        path, q = self.path.split("?")
        assert path == "/base/api/2.0/mlflow/experiments/get-by-name"
        if urllib.parse.parse_qs(q)["experiment_name"] == ["old"]:
            return self.answer(200, {"experiment": {"experiment_id": "3"}})
        self.answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"})
    def do_POST(self):
        what = self.path.removeprefix("/base/api/2.0/mlflow/")
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if fail.get(what):
            fail[what] -= 1
            return self.answer(503, {})
        with open(sys.argv[1], "a") as f:
            print(json.dumps([what, body, self.headers.get("Authorization"), self.headers["Content-Type"]]), file=f)
        if what == "experiments/create":
            return self.answer(*((400, {"message": "bad name"}) if body["name"] == "bad" else (200, {"experiment_id": "7"})))
        if what == "runs/create":
            return self.answer(200, {"run": {"info": {"run_id": "r9"}}})
        self.answer(400 if len(body.get("metrics", [])) > 1000 else 200, {})
s = http.server.HTTPServer(("127.0.0.1", 0), H)
print(s.server_port, flush=True)
s.serve_forever()
PY
python3 "$w/mlflow.py" "$w/asked" >"$w/port" & server=$!
until [ -s "$w/port" ]; do sleep 0.05; done
url=http://127.0.0.1:$(cat "$w/port")/base
for i in {1..9}; do cat "$golden"; done | MLFLOW_TRACKING_TOKEN=key r1track --to mlflow --out "$url/" --project 'a new/one' --run 'the run' 2>"$w/err"
check 'mlflow: ends well' eval "[ $? = 0 ] && [ ! -s $w/err ]"
check 'mlflow: an experiment, a run, batches, the end' eval "jq -sc 'map(.[0])' $w/asked | grep -qx '\[\"experiments/create\",\"runs/create\",\"runs/log-batch\",\"runs/log-batch\",\"runs/update\"\]'"
check 'mlflow: what it is told' jq -se '.[0][1].name == "a new/one" and .[1][1].experiment_id == "7" and .[1][1].run_name == "the run" and
	all(.[]; .[2] == "Bearer key" and .[3] == "application/json") and (.[2][1].metrics | length) == 1000 and
	(map(.[1].metrics // []) | add | length) == 1314 and .[2][1].run_id == "r9" and .[4][1].status == "FINISHED" and
	(.[2][1].metrics | map(select(.key == "layer15/fvu" and .step == 2)) | .[0].value > 0 and .[0].timestamp > 1.6e12)' "$w/asked"
: >"$w/asked"
MLFLOW_TRACKING_URI=$url r1track --to mlflow --project old <"$golden"
check 'mlflow: an experiment that is there; MLFLOW_TRACKING_URI' jq -se '.[0][0] == "runs/create" and .[0][1].experiment_id == "3" and .[0][2] == null' "$w/asked"
refuses 'mlflow: what the server refuses' 1 'status 400: bad name' --to mlflow --out "$url" --project bad <"$golden"
kill $server; wait $server 2>/dev/null
refuses 'mlflow: no server named' 2 'MLFLOW_TRACKING_URI' --to mlflow <"$golden"
MLFLOW_TRACKING_TOKEN=key refuses 'mlflow: a token in the clear' 2 'a token is not sent' --to mlflow --out http://example.org <"$golden"

# ---- make track ------------------------------------------------------------------
d=$w/data/smollm2-135m/quick
mkdir -p "$d/parts/all" "$d/phase1/x4/run"
cp "$golden" "$d/parts/all/metrics.jsonl"; cp "$golden" "$d/phase1/x4/run/metrics.jsonl"
track() { R1TRACK=$(command -v r1track) pipelines/track.sh "${1:-tensorboard}" "$d" smollm2-135m-quick; }
check 'make track' eval "env -u MAKEFLAGS -u MAKELEVEL make -n track TRACKER=trackio | grep -q \"pipelines/track.sh 'trackio' 'data/smollm2-135m/quick' 'smollm2-135m-quick'\""
check 'a folder of runs' eval "track && ls '$d/tensorboard/phase2/'events* '$d/tensorboard/phase1-x4/'events*"
check 'to trackio' eval "TRACK_OUT='$w/tio' track trackio && [ \$(cat '$w'/tio/inbox/*/* | grep -c '\"project\":\"smollm2-135m-quick\"') = \$(cat '$w'/tio/inbox/*/* | wc -l) ]"
check 'another tracker' eval "! track x 2>$w/err; grep -q \"found 'x'\" $w/err"
check 'nothing trained' eval "! d=$w track 2>$w/err; grep -q 'nothing was trained' $w/err"
# wandb's package stood in for by one that writes down what it is told
mkdir "$w/py"
cat >"$w/py/wandb.py" <<'PY'
import json, os
class Run:
    def log(self, d, step=None): print(json.dumps([step, d], sort_keys=True))
    def finish(self): print("end")
def init(**kw):
    print(json.dumps(kw, sort_keys=True), os.environ["WANDB_MODE"])
    return Run()
PY
check 'to wandb' eval "PYTHONPATH=$w/py track wandb >$w/out && grep -qF '{\"name\": \"phase2\", \"project\": \"smollm2-135m-quick\"} offline' $w/out && grep -q '^\[1, {\"layer2/dead\": 0.046' $w/out && grep -qF '[null, {\"ce/layer3/ce_increase\": -0.125}]' $w/out && [ \$(grep -c '^end' $w/out) = 2 ]"
exit $rc
