# SPDX-License-Identifier: Apache-2.0
"""Look at the values of a tensor of a graph before it is read: nothing is refused here."""

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

__all__ = ["stored"]


def stored(tensor: TensorProto | None) -> NDArray[np.generic] | None:
    """Return the values of a tensor; None without one, and of one that lies beside the file or is damaged.

    What is damaged is refused by the reader of constants, which says what is wrong.
    """
    if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
        return None
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError):
        return None
