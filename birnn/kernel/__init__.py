"""The arithmetic of a training step and of a prediction on a CPU, in C: the same bytes everywhere.

Every number is a fixed chain of IEEE operations, so that neither the CPU nor the number of threads
changes a bit; see `source/numbers.h`. Functions take and give torch's tensors, and take part in its
gradients; where there is no kernel (another device, another dtype, no compiler) they compute the
same with torch's own operations, exact but for the last digits. Those of `arrays` do the forward
passes on NumPy's arrays, and load no torch.
"""
