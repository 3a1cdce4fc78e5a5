"""Optimisers: from a gradient to a better parameter.

A training step is four lines, whatever the model and the optimiser:

>>> from tinygrad_rnn import optim, tensor
>>> weight = tensor([1.0, 1.0], requires_grad=True)
>>> xs, ys = tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), tensor([3.0, 7.0, 11.0]) * 0.5
>>> optimizer = optim.SGD([weight], lr=0.01, momentum=0.9)
>>> for _ in range(300):
...     optimizer.zero_grad()                    # 1. forget the last gradient
...     loss = ((xs @ weight - ys) ** 2).mean()  # 2. how wrong is the model?
...     loss.backward()                          # 3. weight.grad = ∂loss/∂weight
...     optimizer.step()                         # 4. weight ← weight − lr·(what is made of it)
>>> [round(w, 2) for w in weight.tolist()]
[0.5, 0.5]

Between 3 and 4 stands `clip_grad_norm_(parameters, 1.0)`, without which recurrent networks diverge
on the first steep slope; after 4 stands `schedule.step()` if the rate is to change with time.

What to read first: `sgd.py`, where step 4 is one line and momentum three more; then `adam.py`, the
one to try first on a new problem (lr 1e-3). Each optimiser is such a file: the equation, where
it comes from, and the same as a few vector operations. They differ in how they scale a step:

    SGD        −γg, or a running sum of g (momentum)          needs a rate that suits the problem
    Adagrad    g / √(sum of g²)                               sparse gradients; slows down for good
    RMSprop    g / √(mean of recent g²)                       the same without slowing down
    Adadelta   the same, times √(mean of recent steps²)       no rate to choose
    Adam       mean of recent g / √(mean of recent g²)        RMSprop with momentum, unbiased
    AdamW      Adam, weight decay beside the gradient         the usual choice for large models

Three more see all parameters as one vector, and its curvature; a step costs more and goes further:

    LBFGS        curvature from the last changes of g         whole data; step(closure)
    HessianFree  Gauss–Newton products, CG, damping           large batches; step(model, loss)
    EKF          a covariance of the weights, sample by sample   few weights; step(model, target)

`flat.py` is why a step takes about as long for sixty small parameters as for one large one: they
are views of one array. Parameters keep their identity and their values; an *array* taken from one
before the optimiser was made (`p.array`, `p.numpy()`) is no longer its memory afterwards.
Large ones are updated in blocks that stay in the cache; or, if llvmlite is there, by `fused.py`,
which makes one kernel of all lines of an update, with the same bits.
`optimizer.py` handles groups with options of their own, missing gradients (such a parameter is
left alone), and `state_dict`, from which a run continues bit for bit.
"""

from __future__ import annotations

from ..clipping import clip_grad_norm_, clip_grad_value_
from . import lr_scheduler
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam
from .adamw import AdamW
from .conjugate_gradient import conjugate_gradient
from .ekf import EKF
from .hessian_free import HessianFree
from .lbfgs import LBFGS
from .lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LinearWarmup,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = [
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "EKF",
    "ExponentialLR",
    "HessianFree",
    "LBFGS",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "LinearWarmup",
    "MultiStepLR",
    "OneCycleLR",
    "Optimizer",
    "PolynomialLR",
    "RMSprop",
    "ReduceLROnPlateau",
    "SGD",
    "SequentialLR",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
    "conjugate_gradient",
    "lr_scheduler",
]
