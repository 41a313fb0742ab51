"""The benchmark's decoder as transformers builds it, with an optional value head."""

import contextlib

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Model

# The first is what transformers does untold; the others trade precision for speed where a CPU has bfloat16 products.
PRECISIONS = ("float32", "medium", "autocast", "bfloat16")


def is_large(shape):
    """Whether a run takes seconds: then few ways are tried, those in bfloat16, and one model is kept at a time."""
    return shape["vocabularySize"] * shape["hiddenSize"] > 10_000_000


def qwen2_config(shape, attention):
    """`shape`: keys of the engine's ModelConfig."""
    return Qwen2Config(
        vocab_size=shape["vocabularySize"],
        hidden_size=shape["hiddenSize"],
        intermediate_size=shape["intermediateSize"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["keyValueHeads"],
        max_position_embeddings=shape["maxPositions"],
        rope_theta=shape["ropeTheta"],
        rms_norm_eps=shape["rmsNormEpsilon"],
        tie_word_embeddings=shape["tiedEmbeddings"],
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
        attn_implementation=attention,
    )


def causal_lm(shape, attention, dtype):
    torch.manual_seed(0)
    return Qwen2ForCausalLM(qwen2_config(shape, attention)).to(dtype)


class Critic(torch.nn.Module):
    """A backbone of its own with a linear value head."""

    def __init__(self, shape, attention, dtype):
        super().__init__()
        self.backbone = Qwen2Model(qwen2_config(shape, attention)).to(dtype)
        self.head = torch.nn.Linear(shape["hiddenSize"], 1, bias=False).to(dtype)
        torch.nn.init.zeros_(self.head.weight)

    def forward(self, input_ids):
        hidden = self.backbone(input_ids=input_ids, use_cache=False).last_hidden_state
        return self.head(hidden).squeeze(-1).float()


@contextlib.contextmanager
def precision(name):
    """float32; medium (float32 weights, products in bfloat16); autocast (likewise, chosen by operation); bfloat16."""
    torch.set_float32_matmul_precision("medium" if name == "medium" else "highest")
    try:
        if name == "autocast":
            with torch.autocast("cpu", dtype=torch.bfloat16):
                yield
        else:
            yield
    finally:
        torch.set_float32_matmul_precision("highest")


def weight_dtype(name):
    return torch.bfloat16 if name == "bfloat16" else torch.float32
