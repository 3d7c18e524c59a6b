"""Surgery on ONNX graphs: what an export is cut open, trimmed or rebuilt into."""
