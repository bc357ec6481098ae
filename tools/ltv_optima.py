"""Where the likelihoods of the lifetime value models are largest, to more digits than a double holds.

    python3 -m venv /tmp/kiki-tools && /tmp/kiki-tools/bin/pip install mpmath==1.3.0
    /tmp/kiki-tools/bin/python tools/ltv_optima.py            # all models; Pareto/NBD takes some minutes
    /tmp/kiki-tools/bin/python tools/ltv_optima.py bgbb mbgnbd

writes `crates/kiki-models/tests/data/optima.json`, which the tests of kiki-models read: parameters and log-likelihoods with
20 digits. Models that are not named keep what the file says.

Nothing here is shared with the Rust code. The likelihoods are as their papers write them (Pareto/NBD with the
hypergeometric function of both cases), in 50 digits; derivatives are central differences, whose error is then below 1e-20;
Newton's method in the logarithms of the parameters runs until its step is below 1e-18.
"""

import csv
import functools
import json
import pathlib
import sys
from collections import Counter

from mpmath import hyp2f1, log, loggamma, lu_solve, matrix, mp, mpf, nstr

mp.dps = 50
ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "crates/kiki-models/tests/data"
OUTPUT = DATA / "optima.json"


def rows(path, *columns):
    with open(path, newline="") as file:
        return [tuple(mpf(row[column]) for column in columns) for row in csv.DictReader(file)]


def histories():
    """Distinct (x, recency, age) of CDNOW and how many customers have each."""
    path = ROOT / "examples/cdnow/cdnow_customers_summary.csv"
    return Counter(rows(path, "frequency", "recency", "T")).items()


def gamma_table():
    """loggamma that remembers, for one set of parameters."""
    return functools.lru_cache(maxsize=None)(loggamma)


def log_sum(one, other):
    """log(e^one + e^other)."""
    high = max(one, other)
    return high + log(mp.exp(one - high) + mp.exp(other - high))


def bgnbd(data, r, alpha, a, b):
    lg, total = gamma_table(), mpf(0)
    for (x, recency, age), count in data:
        shared = lg(r + x) - lg(r) + r * log(alpha) + lg(a + b) + lg(b + x) - lg(b) - lg(a + b + x)
        there = -(r + x) * log(alpha + age)
        if x > 0:
            there = log_sum(there, log(a / (b + x - 1)) - (r + x) * log(alpha + recency))
        total += count * (shared + there)
    return total


def mbgnbd(data, r, alpha, a, b):
    lg, total = gamma_table(), mpf(0)
    for (x, recency, age), count in data:
        shared = lg(r + x) - lg(r) + r * log(alpha) + lg(a + b) + lg(b + x + 1) - lg(b) - lg(a + b + x + 1)
        there, left = -(r + x) * log(alpha + age), log(a / (b + x)) - (r + x) * log(alpha + recency)
        total += count * (shared + log_sum(there, left))
    return total


def pareto(data, r, alpha, s, beta):
    lg, total = gamma_table(), mpf(0)
    larger, gap = max(alpha, beta), abs(alpha - beta)
    for (x, recency, age), count in data:
        power = r + s + x
        second = s + 1 if alpha >= beta else r + x
        part = lambda time: hyp2f1(power, second, power + 1, gap / (larger + time)) / (larger + time) ** power
        there = (alpha + age) ** -(r + x) * (beta + age) ** -s
        left = s / power * (part(recency) - part(age))
        total += count * (lg(r + x) - lg(r) + r * log(alpha) + s * log(beta) + log(there + left))
    return total


def bgbb(data, alpha, beta, gamma, delta):
    lg, total = gamma_table(), mpf(0)
    ln_beta = lambda p, q: lg(p) + lg(q) - lg(p + q)
    for (x, last, n), count in data:
        left = lambda u: mp.exp(ln_beta(alpha + x, beta + u - x) + ln_beta(gamma + 1, delta + u))
        likelihood = mp.exp(ln_beta(alpha + x, beta + n - x) + ln_beta(gamma, delta + n))
        likelihood += sum(left(last + i) for i in range(int(n - last)))
        total += count * (log(likelihood) - ln_beta(alpha, beta) - ln_beta(gamma, delta))
    return total


def gamma_gamma(data, p, q, v):
    lg, total = gamma_table(), mpf(0)
    for (x, mean), count in data:
        shapes = lg(p * x + q) - lg(p * x) - lg(q)
        scales = q * log(v) + (p * x - 1) * log(mean) + p * x * log(x) - (p * x + q) * log(x * mean + v)
        total += count * (shapes + scales)
    return total


def spends():
    path = DATA / "cdnow_customers_summary_with_transactions.csv"
    return Counter(row for row in rows(path, "x", "zbar") if row[0] > 0).items()


def donations():
    return [((x, last, n), count) for x, last, n, count in rows(DATA / "donations.csv", "frequency", "recency", "periods", "weights")]


# Likelihood, data, names, where the search starts: what the papers print.
MODELS = {
    "bgnbd": (bgnbd, histories, ("r", "alpha", "a", "b"), ("0.243", "4.414", "0.793", "2.426")),
    "mbgnbd": (mbgnbd, histories, ("r", "alpha", "a", "b"), ("0.525", "6.183", "0.891", "1.614")),
    "pareto_nbd": (pareto, histories, ("r", "alpha", "s", "beta"), ("0.553", "10.578", "0.606", "11.669")),
    "gamma_gamma": (gamma_gamma, spends, ("p", "q", "v"), ("6.25", "3.74", "15.44")),
    "bgbb": (bgbb, donations, ("alpha", "beta", "gamma", "delta"), ("1.204", "0.750", "0.657", "2.783")),
}


def derivatives(value, at, step=mpf(10) ** -12):
    """Gradient and second derivatives of `value`, by central differences."""
    size = len(at)
    moved = lambda by: value([at[i] + step * by.get(i, 0) for i in range(size)])
    middle = moved({})
    up, down = [moved({i: 1}) for i in range(size)], [moved({i: -1}) for i in range(size)]
    gradient, second = matrix(size, 1), matrix(size, size)
    for i in range(size):
        gradient[i] = (up[i] - down[i]) / (2 * step)
        second[i, i] = (up[i] - 2 * middle + down[i]) / step**2
        for j in range(i):
            corners = moved({i: 1, j: 1}) + moved({i: -1, j: -1}) - moved({i: 1, j: -1}) - moved({i: -1, j: 1})
            second[i, j] = second[j, i] = corners / (4 * step**2)
    return gradient, second


def slope(value, at, step=mpf(10) ** -12):
    """The gradient alone."""
    moved = lambda i, by: value([old + (step * by if i == j else 0) for j, old in enumerate(at)])
    return matrix([(moved(i, 1) - moved(i, -1)) / (2 * step) for i in range(len(at))])


def optimum(likelihood, data, start):
    value = lambda ln: likelihood(data, *[mp.exp(entry) for entry in ln])
    at = [log(mpf(entry)) for entry in start]
    for _ in range(4):
        gradient, second = derivatives(value, at)
        step = lu_solve(second, -gradient)
        at = [entry + step[i] for i, entry in enumerate(at)]
        print("  step", nstr(mp.norm(step), 3), flush=True)
        if mp.norm(step) < mpf("1e-5"):
            break
    # So near, the second derivatives are the same to a few digits, each of which a step of the gradient alone gains.
    for _ in range(20):
        step = lu_solve(second, -slope(value, at))
        at = [entry + step[i] for i, entry in enumerate(at)]
        print("  step", nstr(mp.norm(step), 3), flush=True)
        if mp.norm(step) < mpf("1e-18"):
            return at, value(at), -(second**-1)
    raise SystemExit("did not converge")


def main(wanted):
    found = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    for name in wanted or MODELS:
        likelihood, data, names, start = MODELS[name]
        print(name, flush=True)
        at, value, covariance = optimum(likelihood, list(data()), start)
        found[name] = {
            "parameters": {key: nstr(mp.exp(entry), 20) for key, entry in zip(names, at)},
            "log_likelihood": nstr(value, 20),
            "standard_errors_of_logarithms": {key: nstr(mp.sqrt(covariance[i, i]), 12) for i, key in enumerate(names)},
        }
        OUTPUT.write_text(json.dumps(found, indent=2) + "\n")
        print(" ", found[name], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
