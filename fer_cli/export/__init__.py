"""Files for other programs: ONNX, in float32 or 8-bit integers."""
