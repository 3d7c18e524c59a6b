"""Masks as bytes and arrays: brush RLE, bitmasks, polygons, pictures, and bodies that hold them."""
