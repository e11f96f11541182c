from keras_pamunet.ops.luong_attention import (
    attention_scores,
    check_score_activation,
    first_order_attention,
    luong_attention,
    portable_attention,
    scaled_dot_products,
)

__all__ = [
    "attention_scores",
    "check_score_activation",
    "first_order_attention",
    "luong_attention",
    "portable_attention",
    "scaled_dot_products",
]
