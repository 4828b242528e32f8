"""Static int8 of an image network: weights and activations (chapter 08, `benchmarks/export.py`)."""

from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


class Pictures(CalibrationDataReader):
    """Training pictures float32 (N, 3, H, W) in batches of 20, N a multiple of it: they show how large
    the activations become."""

    def __init__(self, pictures):
        self.batches = iter(pictures.split(20))

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch.numpy()}


def quantise_pictures(source, target, pictures, **options):
    """Write `source`, an ONNX file in float32, as int8 to `target`."""
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared)  # folds BatchNorm into the convolutions
    usual = {"quant_format": QuantFormat.QDQ, "weight_type": QuantType.QInt8, "per_channel": True}
    quantize_static(prepared, target, Pictures(pictures), **(usual | options))
    prepared.unlink()
