"""Scoring, SFT steps and PPO steps, on ragged sequences padded on the right.

Padding on the right needs no attention mask: under causal attention no real token sees a pad, so the fast causal kernel
applies. Rows are sorted by length and cut into micro-batches to waste little on pads. Batch:

    {"rows": [[ids]], "mask": [[0 | 1]]}                                        score (mask unused), sft
    ... "oldLogProbs", "advantages", "oldValues", "returns": [[numbers]]        ppo

Entry k of each list speaks of token k of its row. Losses are means over all masked tokens of the batch.
"""

import torch
import torch.nn.functional as F

from models import PRECISIONS, Critic, causal_lm, is_large, precision, weight_dtype


class Training:
    def __init__(self, name, shape, batch):
        self.name = name
        self.shape = shape
        self.batch = batch
        self.runners = {}

    def variants(self, quick):
        """method-attention-precision-rows: rows is the size of a micro-batch. quick: the ones that usually win."""
        if is_large(self.shape):
            usual = [f"plain-sdpa-bfloat16-{n}" for n in (2, 1)]
            return usual if quick else [*usual, "plain-sdpa-bfloat16-4", "compiled-sdpa-bfloat16-2"]
        if quick:
            return [f"plain-sdpa-{p}-{n}" for p in ("float32", "autocast") for n in (4, 8)]
        plain = [f"plain-sdpa-{p}-{n}" for p in PRECISIONS for n in (4, 8)]
        others = ["plain-sdpa-float32-32", "plain-eager-float32-4"]
        compiled = [f"compiled-sdpa-{p}-4" for p in ("float32", "bfloat16")]
        return plain + others + compiled

    def forget(self, except_for):
        self.runners = {name: runner for name, runner in self.runners.items() if name == except_for}

    def runner(self, variant):
        if variant not in self.runners:
            self.runners[variant] = Step(self.name, self.shape, self.batch, variant)
        return self.runners[variant]


class Step:
    """One update (or one scoring pass) over the whole batch."""

    def __init__(self, task, shape, batch, variant):
        method, attention, self.precision, rows = variant.split("-")
        dtype = weight_dtype(self.precision)
        self.task = task
        self.micro_batches = padded(batch, int(rows))
        self.masked = sum(sum(row) for row in batch["mask"])
        self.actor = causal_lm(shape, attention, dtype)
        self.critic = Critic(shape, attention, dtype) if task == "ppo" else None
        self.optimizers = [adamw(m) for m in (self.actor, self.critic) if m is not None and task != "score"]
        self.forward, self.value = self.actor, self.critic
        if method == "compiled":
            torch.compiler.reset()
            self.forward = torch.compile(self.actor, dynamic=True)
            self.value = torch.compile(self.critic, dynamic=True) if self.critic else None

    def __call__(self):
        with precision(self.precision):
            if self.task == "score":
                self.score()
            else:
                self.update()

    @torch.inference_mode()
    def score(self):
        return [self.token_log_probs(part)[0] for part in self.micro_batches]

    def update(self):
        for part in self.micro_batches:
            log_probs, logits = self.token_log_probs(part)
            if self.task == "sft":
                (-(log_probs * part["mask"]).sum() / self.masked).backward()
            else:
                self.ppo_loss(part, log_probs, logits).backward()
                self.value_loss(part).backward()
        for model, optimizer in zip((self.actor, self.critic), self.optimizers):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def token_log_probs(self, part):
        """log p of tokens 1.. of each row, and the logits that gave them."""
        ids = part["rows"]
        logits = self.forward(input_ids=ids, use_cache=False).logits[:, :-1].float()
        flat = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        return -flat.view(ids.shape[0], -1), logits

    def ppo_loss(self, part, log_probs, logits):
        """Clipped surrogate (0.2, 0.28) with dual clip 3 and entropy bonus 0.001, token mean."""
        mask, advantages = part["mask"], part["advantages"]
        ratio = (log_probs - part["oldLogProbs"]).clamp(-20, 20).exp()
        surrogate = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(0.8, 1.28))
        surrogate = torch.where(advantages < 0, torch.minimum(-advantages * 3.0, surrogate), surrogate)
        entropy = logits.logsumexp(-1) - (logits.softmax(-1) * logits).sum(-1)
        return ((surrogate - 0.001 * entropy) * mask).sum() / self.masked

    def value_loss(self, part):
        """Half the larger of the plain and the clipped squared error (clip 0.5)."""
        values = self.value(part["rows"])[:, :-1]
        clipped = part["oldValues"] + (values - part["oldValues"]).clamp(-0.5, 0.5)
        error = torch.maximum((values - part["returns"]) ** 2, (clipped - part["returns"]) ** 2)
        return 0.5 * (error * part["mask"]).sum() / self.masked


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.99), weight_decay=0.01, fused=True)


def padded(batch, rows):
    """Micro-batches of `rows` rows of like length; lists other than the ids lose entry 0, which no token predicts."""
    order = sorted(range(len(batch["rows"])), key=lambda i: len(batch["rows"][i]))
    parts = []
    for begin in range(0, len(order), rows):
        chosen = order[begin : begin + rows]
        part = {}
        for key, lists in batch.items():
            kind = torch.long if key == "rows" else torch.float32
            full = torch.nn.utils.rnn.pad_sequence([torch.tensor(lists[i], dtype=kind) for i in chosen], batch_first=True)
            part[key] = full if key == "rows" else full[:, 1:]
        parts.append(part)
    return parts
