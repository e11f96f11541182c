from keras_pamunet.data.kvasir_seg.kvasir_seg import KvasirSeg

__all__ = ["KvasirSeg"]
