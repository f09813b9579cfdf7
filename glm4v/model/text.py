"""The GLM text decoder: four norms a layer, grouped key/value heads, 3D rotary positions on part of each head, SwiGLU.

Agrees with transformers' Glm4vTextModel. It knows neither sequences nor caches: `attend` does.
"""

from typing import Any

from torch import Tensor, nn

from glm4v import ops
from glm4v.model.config import text_rotary
from glm4v.model.layers import Attend, Linear, RmsNorm, initialise, run


class TextAttention(nn.Module):
    """Projections and rotation around `attend`."""

    def __init__(self, config: Any, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.hidden_size // self.heads
        self.rotary = text_rotary(config)
        self.q_proj = Linear(config.hidden_size, self.heads * self.head_dim, bias=True)
        self.k_proj = Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=True)
        self.v_proj = Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=True)
        self.o_proj = Linear(self.heads * self.head_dim, config.hidden_size)

    def forward(self, x: Tensor, position_ids: Tensor, attend: Attend) -> Tensor:
        q = self.q_proj(x).view(-1, self.heads, self.head_dim)  # [T, H, D]
        k = self.k_proj(x).view(-1, self.kv_heads, self.head_dim)
        v = self.v_proj(x).view(-1, self.kv_heads, self.head_dim)
        q, k = ops.rope_3d(q, k, position_ids, self.rotary.sections, self.rotary.rotary_dim, self.rotary.theta)
        return self.o_proj(attend(self.layer, q, k, v).flatten(1))


class TextMlp(nn.Module):
    """SwiGLU; the first half of `gate_up_proj` is the gate."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.gate_up_proj = Linear(config.hidden_size, 2 * config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(ops.swiglu(self.gate_up_proj(x)))


class TextLayer(nn.Module):
    """One decoder layer: each sub-layer's output is normed before it joins the residual stream."""

    def __init__(self, config: Any, layer: int) -> None:
        super().__init__()
        self.self_attn = TextAttention(config, layer)
        self.mlp = TextMlp(config)
        self.input_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.post_self_attn_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.post_mlp_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.eps = config.rms_norm_eps

    def forward(self, x: Tensor, position_ids: Tensor, attend: Attend) -> Tensor:
        hidden = self.self_attn(self.input_layernorm(x), position_ids, attend)
        post_weight, weight = self.post_self_attn_layernorm.weight, self.post_attention_layernorm.weight
        x, hidden = ops.sandwich_norm(hidden, x, post_weight, weight, self.eps)
        return x + self.post_mlp_layernorm(self.mlp(hidden))


class TextDecoder(nn.Module):
    """Embeddings in, hidden states after the final norm out, all packed [T, hidden]."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(TextLayer(config, index) for index in range(config.num_hidden_layers))
        self.norm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        initialise(self, config.initializer_range)

    def forward(self, x: Tensor, position_ids: Tensor, attend: Attend, checkpointing: bool = False) -> Tensor:
        for layer in self.layers:
            x = run(layer, checkpointing, x, position_ids, attend)
        return self.norm(x)
