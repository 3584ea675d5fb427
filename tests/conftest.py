"""What must be set before anything is imported."""

import os

import torch

if not torch.cuda.is_available():  # Triton's loops run in its interpreter then
    os.environ.setdefault("TRITON_INTERPRET", "1")
