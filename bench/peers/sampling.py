"""Sampling with `generate` and its ways to be fast on a CPU, and with a plain loop around the same model.

Batch: {"prompts": [[ids]], "maxNewTokens": 70}; prompts of equal length, so that no padding burdens the peer. Temperature 1,
no top-k or top-p, no stop token: every row gets all its tokens. `sampleLogProbs` also collects the log-probability of
each sampled token, which RL needs.
"""

import torch
from transformers import DynamicCache, StaticCache

from models import PRECISIONS, causal_lm, is_large, precision, weight_dtype


class Sampling:
    def __init__(self, name, shape, batch):
        self.log_probs = name == "sampleLogProbs"
        self.shape = shape
        self.prompts = torch.tensor(batch["prompts"])
        self.new_tokens = batch["maxNewTokens"]
        self.runners = {}

    def variants(self, quick):
        """method-attention-cache-precision; quick: the ones that usually win, without compilation."""
        if is_large(self.shape):
            usual = ["loop-sdpa-dynamic-bfloat16", "generate-sdpa-dynamic-bfloat16"]
            return usual if quick else [*usual, "generate-sdpa-static-bfloat16", "compiled-sdpa-static-bfloat16"]
        if quick:
            return [f"generate-sdpa-dynamic-{p}" for p in ("float32", "bfloat16")]
        generate = [f"generate-sdpa-{c}-{p}" for c in ("dynamic", "static") for p in PRECISIONS if p != "autocast"]
        eager = [f"generate-eager-dynamic-{p}" for p in ("float32", "bfloat16")]
        loops = [f"loop-sdpa-dynamic-{p}" for p in ("float32", "bfloat16")]
        compiled = [f"compiled-sdpa-static-{p}" for p in ("float32", "bfloat16")]
        return generate + eager + loops + compiled

    def forget(self, except_for):
        self.runners = {name: runner for name, runner in self.runners.items() if name == except_for}

    def runner(self, variant):
        if variant not in self.runners:
            method, attention, cache, name = variant.split("-")
            model = causal_lm(self.shape, attention, weight_dtype(name)).eval()
            if method == "compiled":
                torch.compiler.reset()
                model.forward = torch.compile(model.forward, dynamic=False)
            work = self.loop if method in ("loop", "compiled") else self.generate
            self.runners[variant] = lambda: self.run(work, model, cache, name)
        return self.runners[variant]

    @torch.inference_mode()
    def run(self, work, model, cache, name):
        with precision(name):
            tokens, log_probs = work(model, cache)
        assert tokens.shape == (len(self.prompts), self.new_tokens), tokens.shape
        assert not self.log_probs or log_probs.shape == tokens.shape

    def generate(self, model, cache):
        out = model.generate(
            self.prompts,
            attention_mask=torch.ones_like(self.prompts),
            max_new_tokens=self.new_tokens,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            eos_token_id=None,
            pad_token_id=0,
            cache_implementation="static" if cache == "static" else None,
            disable_compile=True,
            return_dict_in_generate=True,
            output_logits=self.log_probs,
        )
        tokens = out.sequences[:, self.prompts.shape[1] :]
        if not self.log_probs:
            return tokens, None
        steps = [picked(step, tokens[:, i]) for i, step in enumerate(out.logits)]
        return tokens, torch.stack(steps, dim=1)

    def loop(self, model, cache):
        """What `generate` does, less its bookkeeping."""
        rows, prompt = self.prompts.shape
        length = prompt + self.new_tokens
        dynamic = cache == "dynamic"
        past = DynamicCache(config=model.config) if dynamic else StaticCache(config=model.config, max_cache_len=length)
        ids, begin = self.prompts, 0
        tokens, log_probs = [], []
        for _ in range(self.new_tokens):
            positions = torch.arange(begin, begin + ids.shape[1])
            out = model(
                input_ids=ids,
                position_ids=positions.expand(rows, -1),
                past_key_values=past,
                use_cache=True,
                logits_to_keep=1,
            )
            begin += ids.shape[1]
            logits = out.logits[:, -1].float()
            ids = torch.multinomial(logits.softmax(-1), 1)
            tokens.append(ids)
            if self.log_probs:
                log_probs.append(picked(logits, ids[:, 0]))
        return torch.cat(tokens, dim=1), torch.stack(log_probs, dim=1) if log_probs else None


def picked(logits, ids):
    return logits.float().log_softmax(-1).gather(1, ids[:, None])[:, 0]
