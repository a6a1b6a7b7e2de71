"""clipmax: class probabilities you can trust, behind an HTTP POST.

The ground floor, needed by training, service and users alike; it imports neither torch nor onnxruntime.
"""

from clipmax.client import AsyncClient, Client, Prediction
from clipmax.problems import Problem
from clipmax.refusal import Refusal

__all__ = ["AsyncClient", "Client", "Prediction", "Problem", "Refusal"]
