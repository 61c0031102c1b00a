#!/usr/bin/env python3
"""sparsify_steps.py: a few training steps of sparsify itself, as a fixture.

    SPARSIFY_DISABLE_TRITON=1 python tests/oracle/sparsify_steps.py

writes tests/golden/sparsify_steps.safetensors: rows x and y, and for each
variant its first weights, the loss of every step, FVU, and the weights that
sparsify would save at the end. The loop is that of sparsify.trainer.Trainer
(eai-sparsify 1.3): the hook's first-batch biases and normalisation, the loss,
the optimisers and their schedule, the counters of dead latents.
tests/unit/test_train_sparsify.c takes the same steps.
"""
import pathlib

import torch
from safetensors.torch import save_file
from schedulefree import ScheduleFreeWrapper
from sparsify.config import SparseCoderConfig
from sparsify.sign_sgd import SignSGD
from sparsify.sparse_coder import SparseCoder
from transformers import get_linear_schedule_with_warmup

D, LATENTS, K, BATCH, STEPS = 16, 96, 4, 32, 24
WARMUP, DEAD, ALPHA = 4, 150, 1 / 8

VARIANTS = {
    # name: (optimizer, config, auxk_alpha)
    "signum": ("signum", dict(transcode=True, skip_connection=True), 0),
    "adam": ("adam", dict(transcode=True, skip_connection=True), 0),
    "noskip": ("adam", dict(transcode=True), 0),
    "auxk": ("adam", dict(transcode=True, skip_connection=True), ALPHA),
    "multi": ("adam", dict(transcode=True, skip_connection=True,
                           multi_topk=True), 0),
    "sae": ("adam", dict(normalize_decoder=True), 0),
    "saemulti": ("adam", dict(normalize_decoder=False, multi_topk=True), ALPHA),
}


def run(name, x, y, out):
    kind, config, alpha = VARIANTS[name]
    torch.manual_seed(3)
    cfg = SparseCoderConfig(num_latents=LATENTS, k=K, **config)
    sae = SparseCoder(D, cfg, dtype=torch.float32)
    lr = (5e-3 if kind == "signum" else 2e-4) / (LATENTS / 2 ** 14) ** 0.5
    if kind == "signum":
        opt = ScheduleFreeWrapper(SignSGD(sae.parameters(), lr=lr), momentum=0.95)
        opt.train()
        schedule = None
    else:
        opt = torch.optim.Adam(sae.parameters(), lr=lr)
        schedule = get_linear_schedule_with_warmup(opt, WARMUP, STEPS)
    since = torch.zeros(LATENTS, dtype=torch.long)
    losses, fvus = [], []
    for step in range(STEPS):
        targets = y[step * BATCH:(step + 1) * BATCH]
        inputs = x[step * BATCH:(step + 1) * BATCH] if cfg.transcode else targets
        if step == 0:
            if cfg.transcode:
                sae.encoder.bias.data = -inputs.mean(0) @ sae.encoder.weight.data.T
            sae.b_dec.data = targets.mean(0)
            if kind == "signum":
                # at the mean its gradient is rounding, of either sign
                sae.b_dec.data += torch.randn(D) / 4
            for key, v in sae.state_dict().items():
                out[f"{name}.{key}"] = v.clone()
        if cfg.normalize_decoder and not cfg.transcode:
            sae.set_decoder_norm_to_unit_norm()
        dead = since > DEAD if alpha > 0 else None
        o = sae(x=inputs, y=targets, dead_mask=dead)
        loss = o.fvu + alpha * o.auxk_loss + o.multi_topk_fvu / 8
        loss.backward()
        if cfg.normalize_decoder and not cfg.transcode:
            sae.remove_gradient_parallel_to_decoder_directions()
        opt.step()
        opt.zero_grad()
        if schedule:
            schedule.step()
        since += BATCH
        since[o.latent_indices.flatten()] = 0
        losses.append(loss.item())
        fvus.append(o.fvu.item())
    if kind == "signum":
        opt.eval()
    for key, v in sae.state_dict().items():
        out[f"{name}.end.{key}"] = v.clone()
    out[f"{name}.loss"] = torch.tensor(losses)
    out[f"{name}.fvu"] = torch.tensor(fvus)
    print(name, losses[0], losses[-1], int((since > DEAD).sum()), "dead")


def main():
    torch.manual_seed(1)
    n = BATCH * STEPS
    x = torch.randn(n, 5) @ torch.randn(5, D) + 0.3 * torch.randn(n, D) + 1
    y = torch.sin(x @ torch.randn(D, D) / 2) + x @ torch.randn(D, D) / 4
    out = {"x": x, "y": y}
    for name in VARIANTS:
        run(name, x, y, out)
    path = pathlib.Path(__file__).parent.parent / "golden/sparsify_steps.safetensors"
    save_file({k: v.contiguous() for k, v in out.items()}, path)
    print(path.name, path.stat().st_size)


main()
