#!/usr/bin/env python3
"""Whether Neuronpedia's database takes featexport's tree.

Its own migrations make the tables, in a PostgreSQL that this starts; then each
file goes in by the statement of its importer (apps/webapp/lib/db/import.ts), in
its order, foreign keys and all. Every line must be a row; a second import must
add none.

    python3 tests/oracle/neuronpedia_oracle.py REPO TREE    # as root; postgresql 15

REPO: a clone of Neuronpedia (read at 2026-08-20); TREE: the folder that holds
v1/, written with --creator someone. Columns of type vector, which want an
extension, are made as text. Writes no fixture.
"""
import glob
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile

repo, tree = sys.argv[1:]
pg = "/usr/lib/postgresql/15/bin"
work = tempfile.mkdtemp()
os.chmod(work, 0o777)


def run(*cmd, **kw):
    return subprocess.run(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *cmd],
                          cwd="/", text=True, capture_output=True, **kw)


def sql(text, stop=True):
    r = run(f"{pg}/psql", "-h", work, "-d", "postgres", "-qAtX", "-v", f"ON_ERROR_STOP={int(stop)}", input=text)
    if stop and r.returncode:
        sys.exit(r.stderr.strip())
    return r.stdout.strip(), r.stderr


def git(*args):
    return subprocess.run(["git", "-C", repo, *args], text=True, capture_output=True, check=True).stdout


assert run(f"{pg}/initdb", "-D", f"{work}/db", "-A", "trust").returncode == 0
run(f"{pg}/pg_ctl", "-D", f"{work}/db", "-w", "-l", f"{work}/log", "-o", f"-k {work} -c listen_addresses= -c fsync=off", "start")
try:
    names = [n for n in git("ls-tree", "-r", "--name-only", "HEAD", "apps/webapp/prisma/migrations").split()
             if n.endswith(".sql")]
    for n in names:
        sql(re.sub(r"vector\(\d+\)", "text", git("show", f"HEAD:{n}")), stop=False)
    sql("""INSERT INTO "User" (id, name, "emailUnsubscribeCode") VALUES ('someone', 'someone', 'x')""")
    total = {}

    def load(table, lines):
        keys = list(json.loads(lines[0]))
        cols = sql(f"""SELECT column_name, CASE WHEN data_type = 'ARRAY' THEN udt_name::regtype::text
            WHEN data_type = 'USER-DEFINED' THEN '"' || udt_name || '"' ELSE data_type END
            FROM information_schema.columns WHERE table_name = '{table}' AND table_schema = 'public'
            AND column_name = ANY(ARRAY{keys}) ORDER BY ordinal_position""")[0].splitlines()
        cols = [c.split("|") for c in cols]
        lost = set(keys) - {c for c, _ in cols}
        assert not lost, f"{table} has no column {lost}"
        names = ", ".join(f'"{c}"' for c, _ in cols)
        data = "[" + ",".join(lines).replace("\\u0000", " ") + "]"
        before = int(sql(f'SELECT count(*) FROM "{table}"')[0])
        sql(f"""INSERT INTO "{table}" ({names}) SELECT {names} FROM jsonb_to_recordset($r1${data}$r1$::jsonb)
            AS t({", ".join(f'"{c}" {t}' for c, t in cols)}) ON CONFLICT DO NOTHING""")
        return int(sql(f'SELECT count(*) FROM "{table}"')[0]) - before

    for again in (0, 1):
        for source in sorted(glob.glob(f"{tree}/v1/*/*")):
            for name, table in (("release", "SourceRelease"), ("model", "Model"), ("sourceset", "SourceSet"),
                                ("source", "Source")):
                n = load(table, open(f"{source}/{name}.jsonl").read().splitlines())
                assert n <= 1 - again, (table, n)
            for name, table in (("features", "Neuron"), ("activations", "Activation"), ("explanations", "Explanation")):
                for f in sorted(glob.glob(f"{source}/{name}/*.jsonl.gz")):
                    lines = gzip.open(f, "rt").read().splitlines()
                    n = load(table, lines)
                    assert n == (0 if again else len(lines)), (f, n, len(lines))
                    total[table] = total.get(table, 0) + n
    print("rows:", ", ".join(f"{v} {k}" for k, v in total.items()), "and none the second time")
finally:
    run(f"{pg}/pg_ctl", "-D", f"{work}/db", "-m", "immediate", "stop")
