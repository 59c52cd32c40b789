"""Models and vocoders as ONNX graphs of any length, with all that a program without torch needs to feed them."""

from revoice.interop.onnx.write import graph_of as graph_of
from revoice.interop.onnx.write import left_out as left_out
from revoice.interop.onnx.write import write_onnx as write_onnx
