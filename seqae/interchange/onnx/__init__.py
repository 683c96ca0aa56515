"""ONNX: encoder and decoder as graphs that need neither torch nor seqae.

Each part of a model has a function here that writes its equations as nodes of ONNX's standard
operators. torch's own exporter is not used: it takes seconds for each graph, and that of torch 2.13
freezes the length of the example in a bidirectional recurrence (pytorch#191855), after earlier ones
had written GRUs of other equations (pytorch#189225). What is written twice can disagree, so
agreement.py runs every graph beside the model before a file is written.
"""
