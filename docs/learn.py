"""Automatic differentiation, from one number to backpropagation through time.

An evening's reading, from top to bottom; `python docs/learn.py` runs it. Chapters 1 to 7 build
everything from nothing but Python and NumPy, chapter 8 meets the same numbers in `tinygrad_rnn`.
Every gradient is printed beside a finite difference or a closed form, and the script stops with an
error at the first two that disagree.
"""

import itertools

import numpy as np

# ================================================================================================
# 0. The question
#
# A program computes a number C from other numbers W. Which way, and how strongly, does C move when
# one of them moves a little? The definition of the derivative is itself a program:
#
#     ∂C/∂W  ≈  (C(W + ε) − C(W − ε)) / 2ε
#
# It needs no thought, works for any program, and is right to about ten digits. But it runs the
# program twice *for each number* in W, and a network has millions. Everything below is about
# getting all these derivatives, exactly, for the price of a few runs. The definition stays the
# judge.


def difference(function, x, step=1e-5):
    """∂function/∂x by the definition, one number of x after the other."""
    x = np.array(x, dtype=float)
    slopes = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[place] += step
        behind[place] -= step
        slopes[place] = (function(ahead) - function(behind)) / (2 * step)
    return slopes


compared = []


def chapter(title, left="autodiff", right="difference"):
    print(f"\n{title:<52}{left:>14}{right:>14}{'apart':>9}")


def compare(what, left, right, tolerance=1e-8):
    """One line of a table: the largest number of each side, and how far the two are apart."""
    left, right = np.asarray(left, dtype=float), np.asarray(right, dtype=float)
    apart = np.max(np.abs(left - right))
    place = np.unravel_index(np.argmax(np.abs(right)), right.shape)
    what += f"  {left.shape}" if left.shape else ""
    print(f"    {what:<48}{left[place]:>14.8f}{right[place]:>14.8f}{apart:>9.0e}")
    assert left.shape == right.shape, f"{what}: {left.shape} and {right.shape}"
    assert apart <= tolerance * max(1.0, abs(right[place])), what
    compared.append(left.size)


# ================================================================================================
# 1. A number that remembers how it was made
#
# A program is a chain of small steps, x + y, x · y, tanh x, and for each small step somebody has
# known the derivative for three hundred years. So let every number remember the step that made it.
# Numbers and steps together form the *graph* of the computation: nobody draws it, it is left behind
# by the program as it runs. (The lists of such records have been called tapes since the 1960s.)
#
# An Op is a kind of step: how to compute it and, for each input, one *rule*. Let g be what one unit
# of the result is worth to C, that is ∂C/∂out. The rule answers what one unit of the input is
# worth: g times the derivative of this one step. That is called the *cotangent* of the input.

KINDS = []  # classes that an Op hands itself over to, instead of computing


class Op:
    """A step: how it is computed, and for each input a rule(g, out, *inputs)."""

    def __init__(self, compute, *rules, linear=False):
        self.compute, self.rules, self.linear = compute, rules, linear

    def __call__(self, *inputs):
        for kind in KINDS:
            if any(isinstance(x, kind) for x in inputs):
                return kind.run(self, inputs)
        return self.compute(*inputs)


add = Op(lambda x, y: x + y, lambda g, out, x, y: g, lambda g, out, x, y: g)
mul = Op(lambda x, y: x * y, lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)
tanh = Op(np.tanh, lambda g, out, x: g * (1.0 - out * out))

# Look closely at the rules: they are written with + and *, with no word about what g and x *are*.
# This will pay off three times.


class Algebra:
    """Lets + − * on our own kinds of numbers call the Ops."""

    __array_ufunc__ = None  # so that array + ours asks us, not NumPy

    def __add__(self, other):
        return add(self, other)

    def __mul__(self, other):
        return mul(self, other)

    def __rsub__(self, other):
        return add(other, mul(self, -1.0))

    __radd__, __rmul__ = __add__, __mul__


clock = itertools.count()


class Var(Algebra):
    """A value, the Op that made it, and from what. The number says when."""

    def __init__(self, value, op=None, inputs=()):
        self.value, self.op, self.inputs, self.number = value, op, inputs, next(clock)

    @staticmethod
    def run(op, inputs):
        inputs = [x if isinstance(x, Var) else Var(x) for x in inputs]
        return Var(op(*[x.value for x in inputs]), op, inputs)


KINDS.append(Var)

# ================================================================================================
# 2. Backward, from the newest to the oldest
#
# One unit of C is worth 1. Walk from C back through the graph, and let every rule pass on what its
# inputs are worth. Where a value was used twice, what it is worth *adds up*: moving it moves C
# along both ways. So a value may be passed only when everything made from it has been. That order
# needs no search: a result is always younger than its inputs, so the next one is the newest that
# is waiting. No recursion either, and so no depth at which Python gives up.


def gradient(output, *wrt, record=False):
    """∂output/∂x for each x of wrt; `record` is chapter 4's."""
    worth = {output.number: 1.0}
    waiting = {output.number: output}
    while waiting:
        y = waiting.pop(max(waiting))
        if y.op is None:
            continue
        g, out = worth[y.number], y if record else y.value
        inputs = y.inputs if record else [x.value for x in y.inputs]
        for x, rule in zip(y.inputs, y.op.rules, strict=True):
            part = like(rule(g, out, *inputs), x)
            worth[x.number] = worth[x.number] + part if x.number in worth else part
            waiting[x.number] = x
    return [worth.get(x.number, 0.0) for x in wrt]


def like(g, x):
    """`g` in the shape of `x`: nothing to do for numbers, see chapter 3."""
    return g if shape(g) == shape(x) else sum_to(shape(x))(g)


def shape(x):
    return shape(x.value) if isinstance(x, Algebra) else np.shape(x)


# The circuit that lectures begin with: q = x + y, f = q · z at x = −2, y = 5, z = −4.
# By hand: q = 3 and f = −12; ∂f/∂z = q = 3; ∂f/∂q = z = −4, which the sum hands on to both x and y.



def circuit(x, y, z):
    return (x + y) * z


point = (-2.0, 5.0, -4.0)
x, y, z = (Var(value) for value in point)
q = x + y
f = q * z
found = gradient(f, x, y, z)

chapter("2. The circuit f = (x + y) z at (−2, 5, −4)", right="by hand")
compare("q", q.value, 3.0)
compare("f", f.value, -12.0)
compare("∂f/∂x", found[0], -4.0)
compare("∂f/∂y", found[1], -4.0)
compare("∂f/∂z", found[2], 3.0)
compare("all three, by the definition", found, difference(lambda v: circuit(*v), point))


def knot(a):
    """A value used in several places, so that several ways lead back to it."""
    b = tanh(a) * a
    return b * b + a * b


a = Var(0.7)
long = a
for _ in range(100_000):
    long = long * 0.99999

chapter("2. Values used twice, and a long way back", right="expected")
compare("b² + ab, b = a tanh a, at 0.7", gradient(knot(a), a)[0], difference(knot, 0.7))
compare("100,000 steps a ← 0.99999 a", gradient(long, a)[0], 0.99999**100_000)

# ================================================================================================
# 3. Arrays
#
# Nothing above says that a value is *one* number. A cotangent has the shape of its value, and rules
# of elementwise steps stay as they are. What is new is broadcasting: a bias added to a hundred rows
# is used a hundred times, and chapter 2 said what happens to a value that is used many times: what
# it is worth adds up. So a sum is what passes back through broadcasting; and what passes back
# through a sum is broadcasting. Each is the *transpose* of the other, and these steps are linear:
# for those, passing back is multiplying with the transpose, Aᵀg, whatever A is. The matrix product
# is linear in each of its two arguments.


def sum_to(small):
    """The step that sums an array to a shape that would broadcast to it."""

    def compute(x):
        x = np.sum(x, axis=tuple(range(np.ndim(x) - len(small))))
        return np.sum(x, axis=tuple(i for i, n in enumerate(small) if n == 1), keepdims=True)

    return Op(compute, lambda g, out, x: broadcast_to(shape(x))(g), linear=True)


def broadcast_to(large):
    """The step that repeats an array up to a shape."""
    return Op(
        lambda x: np.broadcast_to(x, large), lambda g, out, x: sum_to(shape(x))(g), linear=True
    )


transpose = Op(np.transpose, lambda g, out, x: transpose(g), linear=True)
matmul = Op(
    lambda x, y: x @ y,
    lambda g, out, x, y: matmul(g, transpose(y)),
    lambda g, out, x, y: matmul(transpose(x), g),
    linear=True,
)
total = sum_to(())

# That is the whole engine. A layer of a network, y = tanh(W x + b), five inputs x side by side as
# columns, and what W and b are worth to the sum of squares:

rng = np.random.default_rng(0)
W0, b0, x0 = rng.normal(size=(3, 4)), rng.normal(size=(3, 1)), rng.normal(size=(4, 5))


def layer(W, b):
    y = tanh(matmul(W, x0) + b)
    return total(y * y)


W, b = Var(W0), Var(b0)
grad_w, grad_b = gradient(layer(W, b), W, b)

chapter("3. Σ tanh(W x + b)², b broadcast over five columns")
compare("∂C/∂W", grad_w, difference(lambda w: layer(w, b0), W0))
compare("∂C/∂b", grad_b, difference(lambda v: layer(W0, v), b0))

# ================================================================================================
# 4. Derivatives of derivatives
#
# The rules are programs in our own operations. Hand them plain values and they compute; hand them
# Vars (that is all `record` does) and they leave a graph behind, like any program. So a gradient
# can be differentiated again, and again. The first payoff.


def cube(x):
    return x * x * x


x = Var(2.0)
(first,) = gradient(cube(x), x, record=True)
(second,) = gradient(first, x, record=True)
(third,) = gradient(second, x)

a = Var(0.5)
(slope,) = gradient(tanh(a), a, record=True)

chapter("4. Second and third derivatives", right="expected")
compare("x³ at 2: first, 3x²", first.value, 12.0)
compare("x³ at 2: second, 6x", second.value, 12.0)
compare("x³ at 2: third, 6", third, 6.0)
compare(
    "tanh″ at 0.5",
    gradient(slope, a)[0],
    difference(lambda v: gradient(tanh(w := Var(v)), w)[0], 0.5),
)

# ================================================================================================
# 5. Forward, with dual numbers
#
# Backward asks what everything is worth to *one result*. Forward asks how everything moves when
# *one input* moves, and the answer travels with the program: every value carries its velocity, its
# *tangent*. Such a pair is a dual number, v + t ε with ε² = 0. For an elementwise step the tangent
# is multiplied by the same derivative as the cotangent was, so the same rule serves. For a linear
# step the tangent goes through the step itself: when x moves by t, A x moves by A t. That is the
# second payoff: not one new rule is written.


class Dual(Algebra):
    """A value and its velocity."""

    def __init__(self, value, tangent):
        self.value, self.tangent = value, tangent

    @staticmethod
    def run(op, inputs):
        values = [x.value if isinstance(x, Dual) else x for x in inputs]
        out, tangent = op(*values), 0.0
        for i, (x, rule) in enumerate(zip(inputs, op.rules, strict=True)):
            if isinstance(x, Dual):
                moved = [*values[:i], x.tangent, *values[i + 1 :]]
                tangent = tangent + (op(*moved) if op.linear else rule(x.tangent, out, *values))
        return Dual(out, broadcast_to(shape(out))(tangent))


KINDS.append(Dual)

direction = rng.normal(size=W0.shape)
moving = layer(Dual(W0, direction), b0)

# And the third payoff. Take the program that computes a *gradient* and run it on dual numbers: out
# comes how the gradient moves along a direction v. That is the Hessian times v, H v, for the price
# of two gradients and without ever building the Hessian.

W = Var(Dual(W0, direction))
(grad_w,) = gradient(layer(W, b0), W)


def gradient_at(weights):
    return gradient(layer(w := Var(weights), b0), w)[0]


h = 1e-5
ahead, behind = W0 + h * direction, W0 - h * direction

chapter("5. Forward mode, and forward over reverse")
compare("velocity of C along v", moving.tangent, (layer(ahead, b0) - layer(behind, b0)) / (2 * h))
compare("H v", grad_w.tangent, (gradient_at(ahead) - gradient_at(behind)) / (2 * h))
compare("Σ v ∂C/∂W, backward, and forward", np.sum(direction * grad_w.value), moving.tangent)

# ================================================================================================
# 6. A recurrence, unrolled
#
# A recurrent network applies one step again and again to a state h that it carries along:
#
#     h_t = f(W h_{t−1} + V x_t + b)
#
# Run it as a loop and look at what is left behind: a graph T layers deep in which W, V and b appear
# T times. Each was *used* T times, so what each use is worth adds up. That is all there is to
# *backpropagation through time*: no new algorithm, only chapter 2 on a loop.
#
# First with f the identity, where everything can be written down: by induction
#
#     h_n = Wⁿ h_0 + Σ_{t=1..n} W^{n−t} (V x_t + b)
#
# and one unit of W in step t reaches h_n through the n − t factors W that follow:
#
#     ∂(uᵀ h_n)/∂W = Σ_{t=1..n} (W^{n−t})ᵀ u h_{t−1}ᵀ

T, H = 6, 3
W0, V0, b0 = rng.normal(size=(H, H)) / 2, rng.normal(size=(H, 2)) / 2, rng.normal(size=(H, 1)) / 4
h0, xs, u = rng.normal(size=(H, 1)), rng.normal(size=(T, 2, 1)), rng.normal(size=(H, 1))
power = np.linalg.matrix_power


def identity(z):
    return z


def states(W, f=identity, T=T, start=h0):
    """h_0 … h_T of the loop."""
    hs = [start]
    for x in xs[:T]:
        hs.append(f(matmul(W, hs[-1]) + V0 @ x + b0))
    return hs


def cost(W, f=identity, T=T):
    """uᵀ h_T, one number."""
    return total(states(W, f, T)[-1] * u)


chapter("6. The linear recurrence, T = 1 … 6", right="closed form")
for n in range(1, T + 1):
    hs = states(W0, T=n)
    steps = [power(W0, n - t) @ (V0 @ xs[t - 1] + b0) for t in range(1, n + 1)]
    compare(f"h_{n}", hs[-1], power(W0, n) @ h0 + sum(steps))
    by_hand = sum(power(W0, n - t).T @ u @ hs[t - 1].T for t in range(1, n + 1))
    W = Var(W0)
    compare(f"∂(uᵀh_{n})/∂W", gradient(cost(W, T=n), W)[0], by_hand)
compare(f"∂(uᵀh_{T})/∂W, by the definition", by_hand, difference(cost, W0))

# With f = tanh the factor W between two states becomes the Jacobian of a step,
#
#     ∂h_{k+1}/∂h_k = D_{k+1} W,   D_k = diag(1 − h_k²),
#
# and the derivative is the sum over all steps j, each with the product of *all* factors from j on:
#
#     ∂C/∂W = Σ_j  ∂C/∂h_T · (Π_{k=j..T−1} ∂h_{k+1}/∂h_k) · ∂⁺h_j/∂W
#
# (∂⁺: W moves in step j alone). Nobody multiplies these matrices out. Reading the product from the
# left gives the recursion by which the first BPTT programs were written by hand; our graph walks
# through the very same numbers:
#
#     δ_T = u ⊙ (1 − h_T²),   δ_t = (Wᵀ δ_{t+1}) ⊙ (1 − h_t²),   ∂C/∂W = Σ_t δ_t h_{t−1}ᵀ

hs = states(W0, tanh)
delta, by_hand = u * (1 - hs[T] ** 2), np.zeros((H, H))
for t in range(T, 0, -1):
    by_hand += delta @ hs[t - 1].T
    delta = (W0.T @ delta) * (1 - hs[t - 1] ** 2)

W = Var(W0)
(bptt,) = gradient(cost(W, tanh), W)
reach = np.eye(H)
for h in hs[1:4]:
    reach = np.diag(1 - h[:, 0] ** 2) @ W0 @ reach
start = Var(h0)
rows = [gradient(total(states(W0, tanh, 3, start)[3] * e[:, None]), start)[0] for e in np.eye(H)]

chapter("6. h = tanh(W h + V x + b): the graph is BPTT")
compare("∂C/∂W and the definition", bptt, difference(lambda w: cost(w, tanh), W0))
compare("∂C/∂W and the recursion by hand", bptt, by_hand)
compare("∂h_3/∂h_0 and D₃W D₂W D₁W", np.hstack(rows).T, reach)

# Every factor D W shrinks or stretches what passes. Below 1 the oldest steps fall silent (the
# gradient *vanishes*), above 1 they shout (it *explodes*). Since they may be silent anyway, one can
# stop early: *truncated* BPTT goes only d steps back, by making the state a constant there. Depth 1
# is Elman's network of 1990, depth T all of it. The definition agrees if it is asked the same
# question: how C moves when W moves in the last d steps alone.


def truncated(W, depth):
    """The cost, with everything before the last `depth` steps a constant."""
    h = states(W0, tanh, T - depth)[-1]
    for x in xs[T - depth :]:
        h = tanh(matmul(W, h) + V0 @ x + b0)
    return total(h * u)


chapter("6. Truncated after d steps")
for depth in range(1, T + 1):
    W = Var(W0)
    (cut,) = gradient(truncated(W, depth), W)
    off = np.linalg.norm(cut - bptt) / np.linalg.norm(bptt)
    compare(f"d = {depth}, {off:6.1%} off", cut, difference(lambda w, d=depth: truncated(w, d), W0))
assert np.allclose(cut, bptt, rtol=1e-12)

# ================================================================================================
# 7. scan
#
# The loop deserves a name. `scan` runs a step, (state, x) → (state, y), along a sequence; it means
# these few lines and nothing else. Whoever writes a network with it says *what* the recurrence is,
# and leaves open *how* it is run: as this loop on the graph, or compiled into one fused loop whose
# derivative is a second one.


def scan(step, carry, xs):
    ys = []
    for x in xs:
        carry, y = step(carry, x)
        ys.append(y)
    return carry, ys


# Its step may be anything that is made of our operations. A cell of three lines, invented here: a
# slow memory c that drifts towards the fast state h.


def drifting(W):
    def step(carry, x):
        h, c = carry
        h = tanh(matmul(W, h) + V0 @ x + c)
        c = 0.9 * c + 0.1 * h
        return (h, c), total(h * c)

    return step


def drift_cost(W):
    _, ys = scan(drifting(W), (h0, b0), xs)
    return sum(ys)


W = Var(W0)
(drift,) = gradient(drift_cost(W), W)

chapter("7. Any cell: Σ_t h_t · c_t with a drifting memory")
compare("∂C/∂W", drift, difference(drift_cost, W0))

# ================================================================================================
# 8. The same, with tinygrad_rnn
#
# The library is these ideas, made fast, complete and hard to misuse. Where to find them:
#
#     Op           graph.Primitive; ops/declare.py makes them from one line each, in three forms:
#                  elementwise, linear, and general for what is neither
#     KINDS        graph.INTERPRETERS: forward mode and the loop compiler use it
#     Var          tensor.Tensor, an array and a graph.Node that keeps only what a rule names
#     gradient     autodiff.pull, with a heap for the waiting room
#     Dual         forward.Dual, with levels, so that transforms nest in any order
#     scan         scan.scan: this loop is its definition, compilers may run it another way

import tinygrad_rnn as tg  # noqa: E402


def tensor(values, requires_grad=False):
    return tg.tensor(values, dtype=tg.float64, requires_grad=requires_grad)


chapter("8. The circuit again", left="tinygrad_rnn", right="by hand")
x, y, z = (tensor(value, requires_grad=True) for value in point)
f = circuit(x, y, z)
f.backward()
compare("f", f.item(), -12.0)
compare("∂f/∂x, ∂f/∂y, ∂f/∂z", [x.grad.item(), y.grad.item(), z.grad.item()], [-4.0, -4.0, 3.0])

Wt, Vt, bt, ut, ht = (tensor(values) for values in (W0, V0, b0, u, h0))


def tanh_step(W):
    def step(h, x):
        h = tg.tanh(W @ h + Vt @ x + bt)
        return h, h

    return step


def tg_cost(W, **options):
    final, _ = tg.scan(tanh_step(W), ht, tensor(xs), **options)
    return (final * ut).sum()


def tg_drift_cost(W):
    def step(carry, x):
        h, c = carry
        h = tg.tanh(W @ h + Vt @ x + c)
        c = 0.9 * c + 0.1 * h
        return (h, c), (h * c).sum()

    return tg.scan(step, (ht, bt), tensor(xs))[1].sum()


def truncated_gradient(depth):
    W = Var(W0)
    return gradient(truncated(W, depth), W)[0]


def hessian_column(direction):
    """H v by our own duals, for the recurrent cost."""
    W = Var(Dual(W0, direction))
    return gradient(cost(W, tanh), W)[0].tangent


direction = rng.normal(size=(H, H))
v = tensor(direction)

chapter("8. The recurrence again", left="tinygrad_rnn", right="learn.py")
compare("third derivative of x³", tg.grad(tg.grad(tg.grad(cube)))(tensor(2.0)), third)
compare("∂C/∂W by BPTT", tg.grad(tg_cost)(Wt), bptt)
for depth in (1, 2, 3, 6):
    got = tg.grad(lambda W, d=depth: tg_cost(W, truncate=d))(Wt)
    compare(f"∂C/∂W, truncate={depth}", got, truncated_gradient(depth))
compare("forward: velocity along v", tg.jvp(tg_cost, (Wt,), (v,))[1], np.sum(direction * bptt))
compare("H v, reverse over forward", tg.hvp(tg_cost, (Wt,), (v,))[0], hessian_column(direction))
compare("∂C/∂W of the drifting memory", tg.grad(tg_drift_cost)(Wt), drift)

print(f"\n{sum(compared):,} numbers compared in {len(compared)} lines, and all agree.")

# Where to go on: examples/autodiff_tour.py shows the library in five minutes, docs/adding_an_op.md
# and docs/adding_a_cell.md put something of your own into it, docs/architecture.md has the whole.
