"""Changes to ONNX graphs: exports are cut, trimmed or rebuilt."""
