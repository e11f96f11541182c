from keras_pamunet.ops.luong_attention import attention_scores, luong_attention

__all__ = ["attention_scores", "luong_attention"]
