"""The stages of dvc.yaml, one module each: read the dependencies, call birnn, write the outs.

A stage is a short process that mostly imports. Imports make many objects and hardly any garbage;
to look for it as often as Python does by default takes a quarter of that time.
"""

import gc

gc.set_threshold(100_000)
