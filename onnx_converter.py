"""Convert a checkpoint to ONNX: `python onnx_converter.py models/sam_vit_b_01ec64.pth`."""

from sam_backend.engines.convert import main

if __name__ == "__main__":
    main()
