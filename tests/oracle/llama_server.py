#!/usr/bin/env python3
"""llama_server.py MODEL.gguf chat|embed [THREADS]

llama.cpp's own HTTP server, out of the package xllamacpp: prints its address, then
serves until it is killed. tests/oracle/real_server.sh asks it.
"""
import sys
import time

import xllamacpp

model, kind = sys.argv[1:3]
p = xllamacpp.CommonParams()
p.model.path = model
p.hostnames, p.port = ["127.0.0.1"], 0
p.n_parallel, p.n_ctx = 4, 4 * 2048
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = int((sys.argv[3:] or ["2"])[0])
if kind == "embed":
    p.embedding, p.n_ubatch = True, p.n_batch
    p.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
server = xllamacpp.Server(p)
print(server.listening_address + "/v1", flush=True)
while True:
    time.sleep(60)
