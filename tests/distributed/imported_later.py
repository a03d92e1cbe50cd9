"""What training imports on the way: each process of a test would take three seconds for it.

torch imports its compiler when the first optimizer is made.
"""

import gc

import scipy.sparse.csgraph  # noqa: F401
import torch._dynamo  # noqa: F401
import torch.distributed.checkpoint.state_dict  # noqa: F401
import torch.utils.tensorboard.summary  # noqa: F401
from tensorboard.compat.proto import event_pb2  # noqa: F401

from ssl_zoo import registry

for kind in registry.PACKAGES:
    registry.names(kind)

gc.freeze()  # what stays is not looked through for garbage, and is shared by all that is forked
