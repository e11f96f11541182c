from keras_pamunet.ops.luong_attention import (
    attention_scores,
    check_score_activation,
    luong_attention,
    portable_attention,
)

__all__ = [
    "attention_scores",
    "check_score_activation",
    "luong_attention",
    "portable_attention",
]
